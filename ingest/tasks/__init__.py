"""Control plane: the Celery tasks, found by Celery's autodiscovery. A message is a hint, the tables are the truth."""

from ingest.tasks.alerts import evaluate_alerts

__all__ = ["evaluate_alerts"]
