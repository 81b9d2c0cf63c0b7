"""What the control plane's tables say in figures, left in Redis for the workers to show.

Control plane; after each evaluation of the alerts. However large the tables are, it reads a bounded part of an index.
"""

import time
from datetime import UTC, datetime
from typing import cast

import redis
from django.db.models import QuerySet

from ingest.dead_letters.selection import OPEN
from ingest.figures import FIGURES, OUTCOMES, Figures, decode, encode
from ingest.models import BulkReplay, BulkStatus, DeadLetter, Notification

# Beyond it the number of open letters says no more than that there are too many.
COUNTED_AT_MOST = 100_000
# What ends now is committed later; nothing is counted before it must be there.
COMMITTED_AFTER_S = 30.0
# After a pause it is caught up with a part at a time.
COUNTED_AT_ONCE_S = 3_600.0


def leave_figures(client: redis.Redis, oldest_letter_age_s: float | None) -> None:
    """Raises DatabaseError and redis.RedisError. Two at once count the same, and the later one's stays."""
    text = cast(bytes | None, client.get(FIGURES))
    client.set(FIGURES, encode(figures_now(decode(text) if text else None, oldest_letter_age_s or 0.0, time.time())))


def figures_now(before: Figures | None, oldest_letter_age_s: float, wall_s: float) -> Figures:
    """How it all stands, with what has ended since `before`."""
    to_s = wall_s - COMMITTED_AFTER_S
    from_s = before.counted_to_wall_s if before else to_s
    to_s = max(from_s, min(to_s, from_s + COUNTED_AT_ONCE_S))
    counted = before.outcomes if before else {}
    return Figures(
        open_letters={status.value: _bounded_count(DeadLetter.objects.filter(status=status)) for status in OPEN},
        oldest_letter_age_s=oldest_letter_age_s,
        bulk_replays={
            status.value: BulkReplay.objects.filter(status=status).count()
            for status in (BulkStatus.RUNNING, BulkStatus.PAUSED)
        },
        untaken_notifications=Notification.objects.filter(sent_at=None, attempts__gt=0).count(),
        outcomes={outcome: counted.get(outcome, 0) + _ended(outcome, from_s, to_s) for outcome in OUTCOMES},
        counted_to_wall_s=to_s,
    )


def _bounded_count(letters: QuerySet[DeadLetter]) -> int:
    return letters.order_by()[:COUNTED_AT_MOST].count()


def _ended(status: str, from_s: float, to_s: float) -> int:
    window = (datetime.fromtimestamp(from_s, UTC), datetime.fromtimestamp(to_s, UTC))
    return DeadLetter.objects.filter(status=status, ended_at__gt=window[0], ended_at__lte=window[1]).count()
