"""A tenant's own figures for a window of time, from the database and from what of it is only in Redis yet.

Read by request threads off the event path. Redis is asked first: what has left it meanwhile is in the database by then.
The database sums what is old; only minutes of which Redis knows something are merged one by one.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import redis
from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.utils import timezone

from ingest.dataplane.ledger import Account
from ingest.ledger.accounts import JOURNALS, Beat, JournalPhase, decode, decode_beat, merged, totals_key
from ingest.ledger.books import missing_journals
from ingest.ledger.copying import account_of
from ingest.models import DeadLetter, JournalState, LedgerHour, LedgerMinute, LetterStatus

COUNTS = ("received", "journaled", "retracted", "delivered", "dead_lettered")
REASONS = ("rejections", "dropped", "discarded")
SCAN_FIELDS = 1_000
ALIVE_S = 10.0

Accounts = dict[tuple[str, int], Account]
"""By journal and minute."""


class Window(NamedTuple):
    """From one minute until before another, in steps of so many."""

    first_minute: int
    end_minute: int
    step_minutes: int

    def holds(self, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        return rows.filter(minute__gte=self.first_minute, minute__lt=self.end_minute)


class Told(NamedTuple):
    """What only Redis knows of a tenant yet, and how its journals are."""

    accounts: Accounts
    beats: Mapping[str, Beat]


def usage(client: redis.Redis, tenant: str, window: Window) -> dict[str, Any]:
    """What GET /api/usage answers. Raises DatabaseError; without Redis it is as old as the last copy."""
    told = _told(client, tenant)
    steps = _steps(tenant, window, told.accounts if told else {})
    total = Account(tenant, window.first_minute)
    for step in steps.values():
        total.add(step)
    return {
        "tenant": tenant,
        "from": _text(window.first_minute),
        "to": _text(window.end_minute),
        "as_of": _as_of(told),
        "total": _in_words(total, _dead_letters(tenant, window, total.dead_lettered)),
        "steps": [{"from": _text(at)} | _in_words(steps[at], steps[at].dead_lettered) for at in sorted(steps)],
        "pending_without_worker": _without_worker(tenant, told.beats) if told else [],
    }


def _told(client: redis.Redis, tenant: str) -> Told | None:
    """None when Redis does not answer."""
    try:
        texts = cast(dict[bytes, bytes], client.hgetall(JOURNALS))
        beats = {name.decode(): decode_beat(text) for name, text in texts.items()}
        accounts = {
            (journal, account.minute): account for journal in beats for account in _scan(client, journal, tenant)
        }
    except redis.RedisError:
        return None
    return Told(accounts, beats)


def _scan(client: redis.Redis, journal: str, tenant: str) -> Iterable[Account]:
    found = client.hscan_iter(totals_key(journal), match=f"{tenant}|*", count=SCAN_FIELDS)
    return [decode(text) for _, text in found]


def _steps(tenant: str, window: Window, told: Accounts) -> dict[int, Account]:
    """By the minute of each step's beginning; steps without events are left out."""
    steps: dict[int, Account] = {}
    recent_minute = min((minute for _, minute in told), default=window.end_minute)
    older = window._replace(end_minute=min(recent_minute, window.end_minute))
    minutes, hours = LedgerMinute.objects.filter(tenant=tenant), LedgerHour.objects.filter(tenant=tenant)
    for rows in (older.holds(minutes), window.holds(hours)):
        _sum_up(rows, tenant, window.step_minutes, steps)
    recent = window._replace(first_minute=max(recent_minute, window.first_minute))
    for account in _merged(recent, minutes, told):
        _step(steps, tenant, account.minute // window.step_minutes * window.step_minutes).add(account)
    return steps


def _sum_up(rows: "QuerySet[Any]", tenant: str, step_minutes: int, steps: dict[int, Account]) -> None:
    """The database adds the counts; reasons are rare, and added here."""
    at_step = rows.annotate(at=F("minute") / step_minutes * step_minutes).order_by()
    for row in at_step.values("at").annotate(**{f"sum_{name}": Sum(name) for name in COUNTS}):
        _step(steps, tenant, row["at"]).add(Account(tenant, row["at"], *(row[f"sum_{name}"] for name in COUNTS)))
    reasoned = at_step.filter(Q(received__gt=F("journaled")) | Q(dropped_events__gt=0) | Q(discarded_events__gt=0))
    for at, *reasons in reasoned.values_list("at", *REASONS).iterator():
        _step(steps, tenant, at).add(Account(tenant, at, 0, 0, 0, 0, 0, *reasons))


def _step(steps: dict[int, Account], tenant: str, at: int) -> Account:
    return steps.setdefault(at, Account(tenant, at))


def _merged(window: Window, rows: "QuerySet[LedgerMinute]", told: Accounts) -> Iterable[Account]:
    accounts = {(row.journal, row.minute): account_of(row) for row in window.holds(rows)}
    rolled_up_to = dict(
        JournalState.objects.exclude(rolled_up_to_minute=0).values_list("journal", "rolled_up_to_minute")
    )
    for (journal, minute), account in told.items():
        if not window.first_minute <= minute < window.end_minute or minute < rolled_up_to.get(journal, 0):
            continue
        kept = accounts.get((journal, minute))
        accounts[journal, minute] = merged(kept, account) if kept else account
    return accounts.values()


def _dead_letters(tenant: str, window: Window, counted: int) -> dict[str, int]:
    """What became of the dead letters, as far as their table still has them."""
    first, end = _datetime(window.first_minute), _datetime(window.end_minute)
    letters = DeadLetter.objects.filter(tenant=tenant, accepted_at__gte=first, accepted_at__lt=end)
    rows = letters.order_by().values("status").annotate(letters=Count("pk"))
    by_status = {row["status"]: row["letters"] for row in rows}
    known = {
        "waiting": by_status.get(LetterStatus.WAITING, 0) + by_status.get(LetterStatus.EXHAUSTED, 0),
        "replayed": by_status.get(LetterStatus.REPLAYED, 0),
        "discarded": by_status.get(LetterStatus.DISCARDED, 0),
    }
    return {"total": counted, **known, "no_longer_kept": max(0, counted - sum(known.values()))}


def _without_worker(tenant: str, beats: Mapping[str, Beat]) -> list[dict[str, Any]]:
    """What waits in journals whose worker nobody hears of, with the time since it was heard of."""
    missing = {one.journal: one for one in missing_journals({name: beat.seen_wall_s for name, beat in beats.items()})}
    rows = LedgerMinute.objects.filter(tenant=tenant, journal__in=missing).exclude(pending=0)
    pending = rows.order_by("journal").values("journal").annotate(events=Sum("pending"))
    return [{"pending": row["events"], "for_s": round(missing[row["journal"]].for_s, 1)} for row in pending]


def _as_of(told: Told | None) -> str | None:
    """Everything up to then is in it."""
    if told is None:
        seen_at = JournalState.objects.aggregate(seen_at=Max("seen_at"))["seen_at"]
        return seen_at and _iso(seen_at)
    now = timezone.now()
    heard = (datetime.fromtimestamp(b.seen_wall_s, UTC) for b in told.beats.values() if b.phase is JournalPhase.OPEN)
    return _iso(min((at for at in heard if (now - at).total_seconds() < ALIVE_S), default=now))


def _in_words(account: Account, dead_lettered: Any) -> dict[str, Any]:
    return {
        "received": account.received,
        "accepted": account.accepted,
        "rejected": account.rejected,
        "delivered": account.delivered,
        "dropped": account.dropped,
        "dead_lettered": dead_lettered,
        "discarded": account.discarded,
        "pending": account.pending,
    }


def _datetime(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _text(minute: int) -> str:
    return _iso(_datetime(minute))


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
