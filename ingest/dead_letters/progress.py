"""How far bulk replays have come, for pages that show many of them or ask again every few seconds: one query for all.

Control plane; reads only.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db.models import Count
from django.utils import timezone

from ingest.models import BulkReplay, BulkStatus, DeadLetter, LetterStatus

_SWEEPS_AWAITED = 3


class Bar(NamedTuple):
    """Of `planned` letters. `to_come` were not made due yet; it is the most there may be, for others may close some."""

    planned: int
    to_come: int
    waiting: int
    replayed: int
    exhausted: int
    discarded: int
    is_over: bool

    @property
    def finished(self) -> int:
        """For these the bulk replay has done what it can."""
        return self.planned if self.is_over else min(self.planned, self.replayed + self.exhausted + self.discarded)

    @property
    def percent(self) -> int:
        """Of the way."""
        return 100 * self.finished // self.planned if self.planned else 100


def is_overdue(due_at: datetime | None) -> bool:
    """Whether several sweeps should have taken it up since."""
    sweeps = timedelta(seconds=_SWEEPS_AWAITED * settings.FOREBAY_REPLAY_SWEEP_INTERVAL_S)
    return due_at is not None and timezone.now() - due_at > sweeps


def bulks_progress(*, bulks: Sequence[BulkReplay]) -> dict[int, Bar]:
    """By the number of each."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    letters = DeadLetter.objects.filter(bulk__in=[bulk.pk for bulk in bulks]).order_by()
    for pk, status, count in letters.values_list("bulk", "status").annotate(count=Count("*")):
        counts[pk][status] = count
    return {bulk.pk: _bar(bulk, counts[bulk.pk]) for bulk in bulks}


def _bar(bulk: BulkReplay, counts: Counter[str]) -> Bar:
    is_over = bulk.status in (BulkStatus.DONE, BulkStatus.CANCELLED)
    return Bar(
        planned=bulk.planned_events,
        to_come=0 if is_over else max(0, bulk.planned_events - bulk.enlisted_events),
        waiting=counts[LetterStatus.WAITING],
        replayed=counts[LetterStatus.REPLAYED],
        exhausted=counts[LetterStatus.EXHAUSTED],
        discarded=counts[LetterStatus.DISCARDED],
        is_over=bulk.status == BulkStatus.DONE,
    )
