"""Journals whose worker nobody hears of, and what an operator may do when one is gone for good.

Control plane. What is pending there waits until somebody adopts the journal; a lost disk nobody adopts.
"""

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ingest.models import JournalState, LedgerMinute

# What a disk took with it is discarded, by the operator who said so.
LOST_JOURNAL = "lost_journal"
BATCH_ROWS = 100


class StillAlive(Exception):
    """Its worker was heard of a moment ago."""


def take_back(state: JournalState) -> None:
    """It was given up, and here it is: what of it is pending is so again."""
    rows = list(LedgerMinute.objects.filter(journal=state.journal, discarded__has_key=LOST_JOURNAL))
    for row in rows:
        row.pending += row.discarded.pop(LOST_JOURNAL)
        row.discarded_events = sum(row.discarded.values())
    _save(rows)
    state.given_up_by = state.give_up_reason = ""


def give_up(journal: str, *, by: str, reason: str) -> int:
    """Count what is pending in a journal that will not come back as discarded; returns how many events. If it comes
    back after all, this is undone. Raises JournalState.DoesNotExist, and StillAlive while its worker is heard of."""
    with transaction.atomic():
        state = JournalState.objects.select_for_update().get(journal=journal)
        if not is_missing(state):
            raise StillAlive(journal)
        rows = list(LedgerMinute.objects.filter(journal=journal, pending__gt=0))
        events = sum(row.pending for row in rows)
        for row in rows:
            row.discarded[LOST_JOURNAL] = row.pending
            row.discarded_events, row.pending = row.discarded_events + row.pending, 0
        _save(rows)
        state.finished_at, state.unsettled = timezone.now(), 0
        state.given_up_by, state.give_up_reason = by, reason
        state.save()
    return events


def is_missing(state: JournalState) -> bool:
    """Whether nobody has been heard of who holds this journal, although something of it may be left."""
    if state.finished_at or (state.is_closed and not state.unsettled):
        return False
    unheard_s = (timezone.now() - state.seen_at).total_seconds()
    return unheard_s > float(settings.FOREBAY_JOURNAL_MISSING_AFTER_S)


def _save(rows: list[LedgerMinute]) -> None:
    LedgerMinute.objects.bulk_update(rows, ["pending", "discarded", "discarded_events"], batch_size=BATCH_ROWS)
