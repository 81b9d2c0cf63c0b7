"""Does the ledger add up? What each tenant's and each journal's figures must satisfy, and where they do not.

Control plane; read from the database after a copy. The tenants' figures come from the accounts, what is pending also
from the journals' own count of unsettled records, dead letters from their table: independent witnesses.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Model, Q, QuerySet, Sum
from django.utils import timezone

from ingest.ledger.lost import is_missing
from ingest.models import DeadLetter, JournalState, LedgerHour, LedgerMinute

COLUMNS = (
    "received",
    "journaled",
    "retracted",
    "delivered",
    "dead_lettered",
    "dropped_events",
    "discarded_events",
    "pending",
    "unexplained",
)
MINUTES_A_DAY = 1440


class Mismatch(NamedTuple):
    """Something that does not add up: what it is about, by how many events, and what to do in one line.

    `is_of_one_row`: one account contradicts itself, so nothing of it can be on its way between two witnesses."""

    subject: str
    events: int
    text: str
    is_missing_worker: bool = False
    is_of_one_row: bool = False


class Missing(NamedTuple):
    """A journal that nobody is heard of from."""

    journal: str
    node: str
    pending_events: int
    for_s: float

    @property
    def mismatch(self) -> Mismatch:
        """A missing worker is told like a figure that is wrong: its pending events go nowhere until it is back."""
        return Mismatch(
            f"missing:{self.journal}",
            self.pending_events,
            f"journal {self.journal} of node {self.node}: {self.pending_events} pending events and no worker for"
            f" {self.for_s:.0f} s; start Forebay on that node, or if its disk is lost:"
            f" manage.py ledger_check --give-up {self.journal} --reason TEXT",
            is_missing_worker=True,
        )


def mismatches(*, tenant: str = "") -> list[Mismatch]:
    """Everything that does not add up at this moment. Under load some is only on its way: see `checking`."""
    found = [*_unexplained(tenant), *_overspent(tenant), *_dead_letters(tenant)]
    if not tenant:
        found += [*_unsettled(), *(one.mismatch for one in missing_journals())]
    return found


def missing_journals(heard_wall_s: Mapping[str, float] = MappingProxyType({})) -> list[Missing]:
    """The journals that hold something and whose worker has not been heard of for FOREBAY_JOURNAL_MISSING_AFTER_S.

    `heard_wall_s` is when a journal was heard of, where somebody knows better than the table."""
    now, missing = timezone.now(), []
    for state in JournalState.objects.filter(finished_at=None).order_by("seen_at"):
        state.seen_at = max(state.seen_at, datetime.fromtimestamp(heard_wall_s.get(state.journal, 0), UTC))
        if is_missing(state):
            for_s = (now - state.seen_at).total_seconds()
            missing.append(Missing(state.journal, state.node, state.unsettled, for_s))
    return missing


def totals(*, tenant: str = "", since_minute: int = 0) -> dict[str, dict[str, int]]:
    """The figures of each tenant since a minute; hours of the past count whole."""
    by_tenant: dict[str, Counter[str]] = {}
    for model in (LedgerMinute, LedgerHour):
        rows = _of(model, tenant).filter(minute__gte=since_minute).order_by().values("tenant")
        for row in rows.annotate(**{f"sum_{column}": Sum(column) for column in COLUMNS}):
            counted = by_tenant.setdefault(row["tenant"], Counter())
            counted.update({column: row[f"sum_{column}"] for column in COLUMNS})
    return {name: _in_words(by_tenant[name]) for name in sorted(by_tenant)}


def _in_words(row: Counter[str]) -> dict[str, int]:
    accepted = row["journaled"] - row["retracted"]
    return {
        "received": row["received"],
        "accepted": accepted,
        "rejected": row["received"] - accepted - row["unexplained"],
        "delivered": row["delivered"],
        "dropped": row["dropped_events"],
        "dead_lettered": row["dead_lettered"],
        "discarded": row["discarded_events"],
        "pending": row["pending"],
    }


def _of(model: type[Model], tenant: str) -> "QuerySet[Any]":
    rows = model._default_manager.all()
    return rows.filter(tenant=tenant) if tenant else rows


def _sums(rows: "QuerySet[Any]", by: str, column: str) -> Iterator[tuple[str, int]]:
    for row in rows.order_by(by).values(by).annotate(events=Sum(column)):
        yield row[by], row["events"]


def _unexplained(tenant: str) -> Iterator[Mismatch]:
    for model in (LedgerMinute, LedgerHour):
        for name, events in _sums(_of(model, tenant).exclude(unexplained=0), "tenant", "unexplained"):
            text = f"tenant {name}: received differs from accepted + rejected by {events}; a defect: please report it"
            yield Mismatch(f"unexplained:{model.__name__}:{name}", events, text, is_of_one_row=True)


def _overspent(tenant: str) -> Iterator[Mismatch]:
    for model in (LedgerMinute, LedgerHour):
        for name, events in _sums(_of(model, tenant).filter(pending__lt=0), "tenant", "pending"):
            text = f"tenant {name}: {-events} more events ended than were accepted; a defect: please report it"
            yield Mismatch(f"overspent:{model.__name__}:{name}", events, text, is_of_one_row=True)


def _unsettled() -> Iterator[Mismatch]:
    """The journals' own count against what the accounts say is pending, one journal at a time."""
    pending = dict(_sums(LedgerMinute.objects.exclude(pending=0), "journal", "pending"))
    unsettled = dict(JournalState.objects.filter(~Q(unsettled=0)).values_list("journal", "unsettled"))
    for journal in sorted(pending.keys() | unsettled.keys()):
        by_ledger, by_journal = pending.get(journal, 0), unsettled.get(journal, 0)
        if by_ledger != by_journal:
            yield Mismatch(
                f"journal:{journal}",
                by_ledger - by_journal,
                f"journal {journal}: {by_ledger} events pending in the ledger, {by_journal} unsettled in the journal;"
                " look at it with manage.py journal show, and at the worker's log for damaged frames",
            )


def _dead_letters(tenant: str) -> Iterator[Mismatch]:
    """Only as far back as the table keeps them. A letter that the ledger does not count was kept by a worker that died
    before it said so; what its successor delivers of these is twice in Kafka, and not lost."""
    since_minute = _dead_letters_kept_since()
    rows = _of(LedgerMinute, tenant).exclude(dead_lettered=0).filter(minute__gte=since_minute)
    counted = dict(_sums(rows, "tenant", "dead_lettered"))
    since = datetime.fromtimestamp(since_minute * 60, UTC)
    letters = _of(DeadLetter, tenant).filter(accepted_at__gte=since).order_by("tenant").values("tenant")
    kept = {row["tenant"]: row["letters"] for row in letters.annotate(letters=Count("pk"))}
    for name in sorted(counted):
        events = counted[name] - kept.get(name, 0)
        if events > 0:
            yield Mismatch(
                f"dead-letters:{name}",
                events,
                f"tenant {name}: {counted[name]} events dead-lettered in the ledger, {kept.get(name, 0)} in the"
                " table of dead letters; has somebody removed rows by hand?",
            )


def _dead_letters_kept_since() -> int:
    """A day's beginning, as minutes of the past are merged to hours."""
    days = min(settings.FOREBAY_LEDGER_MINUTES_KEPT_DAYS, settings.FOREBAY_DEAD_LETTER_RETENTION_DAYS)
    since = timezone.now() - timedelta(days=days - 1)
    return int(since.timestamp()) // 60 // MINUTES_A_DAY * MINUTES_A_DAY
