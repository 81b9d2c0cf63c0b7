"""Control plane: the Celery tasks, found by Celery's autodiscovery. A message is a hint, the tables are the truth."""

from ingest.tasks.alerts import evaluate_alerts
from ingest.tasks.dead_letters import retire_dead_letters, sweep_dead_letters
from ingest.tasks.history import copy_breaker_transitions, record_platform_minute, retire_history
from ingest.tasks.ledger import ledger_check, ledger_copy, ledger_roll_up
from ingest.tasks.quarantine import delete_old_quarantined

__all__ = [
    "copy_breaker_transitions",
    "delete_old_quarantined",
    "evaluate_alerts",
    "ledger_check",
    "ledger_copy",
    "ledger_roll_up",
    "record_platform_minute",
    "retire_dead_letters",
    "retire_history",
    "sweep_dead_letters",
]
