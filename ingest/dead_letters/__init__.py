"""Control plane: what becomes of dead letters. Selecting, editing, deciding, sending again, giving up, keeping order.

Celery's processes, commands and the console call it; the event path does not.
"""
