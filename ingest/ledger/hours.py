"""Merges minutes of the past into hours, those of all journals into one row, so that the tables stay bounded.

Control plane; a task runs it each hour, several at once do no harm. Only minutes that no journal can tell of any more
are merged, and the journal's row remembers how far, so that nothing is ever counted in both.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ingest.dataplane.ledger import Account
from ingest.ledger.copying import BATCH_ACCOUNTS, DERIVED, TOTALS, account_of, derive, lock_state
from ingest.models import JournalState, LedgerHour, LedgerMinute

MINUTES_AN_HOUR = 60


def roll_up(*, budget_s: float) -> int:
    """Merge what is due for about `budget_s`, delete what is older than the hours are kept; what is left is for the
    next run. Returns how many minutes were merged."""
    now, until_s = timezone.now(), time.monotonic() + budget_s
    before = _hour(now - timedelta(days=settings.FOREBAY_LEDGER_MINUTES_KEPT_DAYS))
    merged = 0
    for journal in JournalState.objects.order_by("pk").values_list("journal", flat=True):
        while time.monotonic() < until_s and (count := _merge_some(journal, before)):
            merged += count
    too_old = _hour(now - timedelta(days=settings.FOREBAY_LEDGER_HOURS_KEPT_DAYS))
    LedgerHour.objects.filter(minute__lt=too_old).delete()
    _forget_journals(now)
    return merged


@transaction.atomic
def _merge_some(journal: str, before: int) -> int:
    state = lock_state(journal)
    limit = before if state.finished_at else min(before, state.oldest_minute)
    rows = LedgerMinute.objects.filter(journal=journal, minute__lt=limit).order_by("minute", "tenant")[:BATCH_ACCOUNTS]
    taken = list(rows)
    if taken:
        state.rolled_up_to_minute = max(state.rolled_up_to_minute, limit)
        state.save(update_fields=["rolled_up_to_minute"])
        _add(taken)
        LedgerMinute.objects.filter(pk__in=[row.pk for row in taken]).delete()
    return len(taken)


def _add(minutes: Iterable[LedgerMinute]) -> None:
    """Make the hours that are not there, lock all of them in one order, then add."""
    sums: dict[tuple[str, int], Account] = {}
    for minute in minutes:
        at = (minute.tenant, minute.minute // MINUTES_AN_HOUR * MINUTES_AN_HOUR)
        sums.setdefault(at, Account(*at)).add(account_of(minute))
    new = [LedgerHour(tenant=tenant, minute=minute) for tenant, minute in sorted(sums)]
    LedgerHour.objects.bulk_create(new, ignore_conflicts=True)
    tenants, hours = {tenant for tenant, _ in sums}, {minute for _, minute in sums}
    rows = LedgerHour.objects.select_for_update().filter(tenant__in=tenants, minute__in=hours).order_by("pk")
    touched = [row for row in rows if (row.tenant, row.minute) in sums]
    for row in touched:
        total = sums[row.tenant, row.minute]
        total.add(account_of(row))
        derive(row, total)
    LedgerHour.objects.bulk_update(touched, [*TOTALS, *DERIVED], batch_size=50)


def _forget_journals(now: datetime) -> None:
    """Finished ones of which no minute is left."""
    long_ago = now - timedelta(days=settings.FOREBAY_LEDGER_MINUTES_KEPT_DAYS + 1)
    with_minutes = LedgerMinute.objects.order_by().values("journal")
    JournalState.objects.filter(finished_at__lt=long_ago).exclude(journal__in=with_minutes).delete()


def _hour(at: datetime) -> int:
    """The minute in which its hour began."""
    return int(at.timestamp()) // 3600 * MINUTES_AN_HOUR
