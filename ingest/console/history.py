"""The console's history: a row a minute of how the platform did, and every move of a breaker. Written by Celery."""

import time
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone
from redis import Redis

from ingest.breaker_store import RecordedTransition, transitions_after
from ingest.console.live import MISSING_AFTER_S, totals_of
from ingest.heartbeats import workers
from ingest.models import BreakerTransition, PlatformMinute

_COPIED_AT_ONCE = 1_000


def platform_minute_record(client: Redis, wall_s: float | None = None) -> PlatformMinute | None:
    """Keep the minute that has just ended; None where that was done. Raises RedisError."""
    now_s = time.time() if wall_s is None else wall_s
    at = datetime.fromtimestamp(now_s // 60 * 60, UTC)
    totals = totals_of(one for one in workers(client) if now_s - one.seen_wall_s <= MISSING_AFTER_S)
    minute, is_new = PlatformMinute.objects.get_or_create(
        at=at,
        defaults={
            "workers": totals.workers,
            "accepted_events": round(totals.accepted_events),
            "rejected_events": round(totals.rejected_events),
            "delivered_events": round(totals.delivered_events),
            "delivery_errors": round(totals.delivery_errors),
            "throttled_requests": round(totals.throttled_requests),
            "produce_p50_ms": totals.p50_ms,
            "produce_p95_ms": totals.p95_ms,
            "produce_p99_ms": totals.p99_ms,
            "queue_ratio": totals.queue_ratio,
            "journal_ratio": totals.journal_ratio,
            "pending_events": totals.pending_events,
        },
    )
    return minute if is_new else None


def breaker_transitions_copy(client: Redis) -> int:
    """Copy the moves that the table does not have; returns how many. What is copied twice is there once."""
    last = BreakerTransition.objects.order_by("-at", "-pk").values_list("stream_id", flat=True).first()
    rows = [_row(number, move) for number, move in transitions_after(client, last or "0", _COPIED_AT_ONCE)]
    return len(BreakerTransition.objects.bulk_create(rows, ignore_conflicts=True))


def history_retire() -> int:
    """Delete what is older than the settings say; returns how many rows."""
    before = timezone.now() - timedelta(days=settings.FOREBAY_HISTORY_RETENTION_DAYS)
    minutes, _ = PlatformMinute.objects.filter(at__lt=before).delete()
    moves, _ = BreakerTransition.objects.filter(at__lt=before).delete()
    return minutes + moves


def _row(number: str, move: RecordedTransition) -> BreakerTransition:
    return BreakerTransition(
        stream_id=number,
        topic=move.topic,
        old=move.old,
        new=move.new,
        at=datetime.fromtimestamp(move.at_wall_ms / 1000, UTC),
        cause=move.cause[:500],
        by=move.by[:150],
        worker=move.worker[:255],
    )
