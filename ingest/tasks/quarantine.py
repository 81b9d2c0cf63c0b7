"""Control plane: the Celery task that deletes rejected events when they have been kept long enough."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from ingest.models import QuarantinedEvent

# Short transactions, and an end: what a run leaves is for the next one.
_BATCH_ROWS = 1_000
_MOST_BATCHES = 200

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]  # Celery ships no types
def delete_old_quarantined() -> int:
    """Delete what is older than the retention, the oldest first; returns how many."""
    before = timezone.now() - timedelta(days=settings.FOREBAY_QUARANTINE_RETENTION_DAYS)
    old = QuarantinedEvent.objects.filter(received_at__lt=before).order_by("received_at")
    deleted = 0
    for _ in range(_MOST_BATCHES):
        keys = list(old.values_list("pk", flat=True)[:_BATCH_ROWS])
        QuarantinedEvent.objects.filter(pk__in=keys).delete()
        deleted += len(keys)
        if len(keys) < _BATCH_ROWS:
            break
    if deleted:
        log.info(
            "deleted %d rejected events that were kept for %d days", deleted, settings.FOREBAY_QUARANTINE_RETENTION_DAYS
        )
    return deleted
