"""Bulk replays: planned, started, paused, resumed, cancelled by an operator; moved on by the sweep, a little at a time.

Control plane. A bulk replay only marks letters as due; sending them is the sweep's one way for all. So a killed sender
costs nothing here, and a letter an operator sends alone waits behind a few hundred at most.
"""

from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, F, Max, Model, Q, QuerySet, Sum
from django.db.models.functions import Greatest
from django.utils import timezone

from ingest.dead_letters.claims import is_free
from ingest.dead_letters.routes import Destination, Dropped, Routes, Topics
from ingest.dead_letters.selection import OPEN, LetterCriteria, criteria_from, letters_read, letters_select
from ingest.models import BulkReplay, BulkStatus, DeadLetter, LetterStatus, ReplayRoute
from tenants.audit import audit

# Of one bulk replay so many letters are due at a time.
ENLISTED_AT_ONCE = 500
# Rules look at each event, so a plan looks at this many, or at those that make up so many bytes, and says so.
PLANNED_SAMPLE = 1_000
PLANNED_BYTES = 32 << 20
R = TypeVar("R", bound=Model)
Facts = dict[str, Any]


class BulkRefused(Exception):
    """Its state does not allow it; the text says why."""


class BulkPlan(NamedTuple):
    """What a bulk replay would do. `destinations` counts by topic, in a sample of `sampled` letters; `-` is nowhere."""

    events: int
    bytes: int
    destinations: dict[str, int]
    sampled: int
    estimated_s: float
    charges_quota: bool


class Progress(NamedTuple):
    """How far it has come. `enlisted` were made due so far; of them `waiting` still are; `to_come` are not due yet. The
    rest of `planned` was closed by others."""

    planned: int
    enlisted: int
    to_come: int
    waiting: int
    replayed: int
    exhausted: int
    discarded: int


@transaction.atomic
def bulk_plan(
    *,
    criteria: LetterCriteria,
    route: str = ReplayRoute.RULES,
    charges_quota: bool = False,
    reason: str,
    by: str,
    form_token: UUID | None = None,
) -> BulkReplay:
    """A bulk replay of what is open now and matches; nothing is sent before `bulk_start`. A form that
    is sent twice plans once: for its second time it gets what the first has made. Raises BulkRefused."""
    letters = letters_select(criteria=criteria).filter(status__in=OPEN)
    found = letters.order_by().aggregate(events=Count("pk"), last_id=Max("pk"))
    if not found["events"]:
        raise BulkRefused(f"No open dead letter matches: {criteria}.")
    if not reason.strip():
        raise BulkRefused("Say why: the reason stays with the replay.")
    asked = {
        "criteria": criteria.as_json(),
        "route": route,
        "charges_quota": charges_quota,
        "reason": reason.strip(),
        "planned_events": found["events"],
        "last_id": found["last_id"],
        "created_by": by,
    }
    bulk, is_new = BulkReplay.objects.get_or_create(form_token=form_token or uuid4(), defaults=asked)
    if not is_new:
        return bulk
    facts = {"criteria": bulk.criteria, "letters": bulk.planned_events, "route": str(route), "quota": charges_quota}
    _audit(bulk, "plan", by, reason, None, facts)
    return bulk


def bulk_forecast(*, bulk: BulkReplay, routes: Routes, topics: Topics) -> BulkPlan:
    """What it would do if it were started now."""
    letters = _members(bulk)
    found = letters.order_by().aggregate(events=Count("pk"), size=Sum("size_bytes"))
    events = found["events"]
    if bulk.route == ReplayRoute.PINNED:
        rows = letters.order_by().values_list("topic").annotate(count=Count("pk")).order_by("topic")
        destinations, sampled = dict(rows), events
    else:
        destinations = letters_destinations(letters=letters, routes=routes, topics=topics)
        sampled = sum(destinations.values())
    return BulkPlan(
        events=events,
        bytes=found["size"] or 0,
        destinations=dict(destinations),
        sampled=sampled,
        estimated_s=events / settings.FOREBAY_REPLAY_MAX_EVENTS_PER_S,
        charges_quota=bulk.charges_quota,
    )


def letters_destinations(*, letters: QuerySet[DeadLetter], routes: Routes, topics: Topics) -> dict[str, int]:
    """Where today's rules would send the first ones, counted; `-` is nowhere."""
    return Counter(_destination(routes, letter, topics) for letter in letters_read(letters=_sample(letters)))


def _sample(letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
    """The first ones, with no more than rules look at."""
    ids: list[int] = []
    total_bytes = 0
    for pk, size_bytes in letters.order_by("pk").values_list("pk", "size_bytes")[:PLANNED_SAMPLE]:
        total_bytes += size_bytes
        if ids and total_bytes > PLANNED_BYTES:
            break
        ids.append(pk)
    return DeadLetter.objects.filter(pk__in=ids).only("tenant", "value")


def _destination(routes: Routes, letter: DeadLetter, topics: Topics) -> str:
    choice = routes.by_rules(letter, topics)
    if isinstance(choice, Destination):
        return choice.topic
    return f"- dropped: {choice.reason}" if isinstance(choice, Dropped) else f"- {choice.code}"


def bulk_start(*, bulk: BulkReplay, by: str, reason: str) -> None:
    """Begin. Raises BulkRefused."""
    _move(bulk, (BulkStatus.PLANNED,), BulkStatus.RUNNING, ("start", by, reason), started_at=timezone.now())


def bulk_pause(*, bulk: BulkReplay, by: str, reason: str) -> None:
    """What is in a sender's hands is finished, then nothing more until `bulk_resume`. Raises BulkRefused."""
    _move(bulk, (BulkStatus.RUNNING,), BulkStatus.PAUSED, ("pause", by, reason))


def bulk_resume(*, bulk: BulkReplay, by: str, reason: str) -> None:
    """Go on where it was paused. Raises BulkRefused."""
    _move(bulk, (BulkStatus.PAUSED,), BulkStatus.RUNNING, ("resume", by, reason))


@transaction.atomic
def bulk_cancel(*, bulk: BulkReplay, by: str, reason: str) -> None:
    """Send no more of it. What it has not sent is what it was before: it waits for its own retry, or for an operator.
    Raises BulkRefused."""
    _move(
        bulk,
        (BulkStatus.PLANNED, BulkStatus.RUNNING, BulkStatus.PAUSED),
        BulkStatus.CANCELLED,
        ("cancel", by, reason),
        ended_at=timezone.now(),
    )
    waiting = DeadLetter.objects.filter(bulk=bulk, status=LetterStatus.WAITING)
    # One that the bulk replay has tried meanwhile may have to wait for longer than it had to before.
    waiting.filter(own_attempt_at__isnull=False).update(
        next_attempt_at=Greatest(F("next_attempt_at"), F("own_attempt_at")), own_attempt_at=None, bulk=None
    )
    waiting.update(status=LetterStatus.EXHAUSTED, next_attempt_at=None, bulk=None)


def bulk_progress(*, bulk: BulkReplay) -> Progress:
    """Counted from the letters themselves."""
    rows = bulk.letters.order_by().values_list("status").annotate(count=Count("pk"))
    counts: dict[str, int] = dict(rows)
    is_over = bulk.status in (BulkStatus.DONE, BulkStatus.CANCELLED)
    return Progress(
        planned=bulk.planned_events,
        enlisted=bulk.enlisted_events,
        to_come=0 if is_over else _to_come(bulk),
        waiting=counts.get(LetterStatus.WAITING, 0),
        replayed=counts.get(LetterStatus.REPLAYED, 0),
        exhausted=counts.get(LetterStatus.EXHAUSTED, 0),
        discarded=counts.get(LetterStatus.DISCARDED, 0),
    )


def bulks_enlist(*, now: datetime) -> None:
    """Make the next letters of each running bulk replay due, and end those that have none left."""
    for pk in BulkReplay.objects.filter(status=BulkStatus.RUNNING).order_by("pk").values_list("pk", flat=True):
        _enlist(pk, now)


@transaction.atomic
def _enlist(pk: int, now: datetime) -> None:
    """The row's lock keeps two sweeps from enlisting the same letters, and an operator from pausing in between."""
    bulk = _passing_locked(BulkReplay.objects.filter(pk=pk, status=BulkStatus.RUNNING)).first()
    if bulk is None:
        return
    waiting = DeadLetter.objects.filter(bulk=bulk, status=LetterStatus.WAITING)
    room = ENLISTED_AT_ONCE - waiting.filter(next_attempt_at__lte=now).count()
    if room <= 0:
        return
    left = _to_enlist(bulk)
    ids = list(_passing_locked(left.filter(is_free(now))).order_by("pk").values_list("pk", flat=True)[:room])
    if ids:
        _make_due(bulk, ids, now)
        bulk.enlisted_to_id, bulk.enlisted_events = _without_a_gap(left, ids[-1]), bulk.enlisted_events + len(ids)
        bulk.save(update_fields=["enlisted_to_id", "enlisted_events"])
    elif not waiting.exists() and not left.exists():
        bulk.status, bulk.ended_at = BulkStatus.DONE, now
        bulk.save(update_fields=["status", "ended_at"])


def _passing_locked(rows: QuerySet[R]) -> QuerySet[R]:
    """Locked until the transaction ends, without those that somebody else has locked, where the database can."""
    if connection.features.has_select_for_update_skip_locked:
        return rows.select_for_update(skip_locked=True, of=("self",))
    return rows


def _without_a_gap(left: QuerySet[DeadLetter], last_id: int) -> int:
    """What a sender has in its hands is enlisted when it is back, so nothing before it may be forgotten."""
    passed_over = left.filter(pk__lt=last_id).order_by("pk").values_list("pk", flat=True).first()
    return last_id if passed_over is None else passed_over - 1


def _make_due(bulk: BulkReplay, ids: list[int], now: datetime) -> None:
    """With fresh bounds of attempts and age where these were used up."""
    enlisted = DeadLetter.objects.filter(pk__in=ids)
    enlisted.filter(status=LetterStatus.WAITING).update(
        bulk=bulk, own_attempt_at=F("next_attempt_at"), next_attempt_at=now
    )
    enlisted.filter(status=LetterStatus.EXHAUSTED).update(
        bulk=bulk,
        status=LetterStatus.WAITING,
        retries=0,
        retry_since=now,
        own_attempt_at=None,
        next_attempt_at=now,
    )


def _members(bulk: BulkReplay) -> QuerySet[DeadLetter]:
    return letters_select(criteria=criteria_from(bulk.criteria)).filter(pk__lte=bulk.last_id, status__in=OPEN)


def _to_enlist(bulk: BulkReplay) -> QuerySet[DeadLetter]:
    """Those that another running bulk replay has are left to it."""
    taken = Q(bulk__status__in=(BulkStatus.RUNNING, BulkStatus.PAUSED)) & Q(status=LetterStatus.WAITING)
    return _members(bulk).filter(pk__gt=bulk.enlisted_to_id).exclude(bulk=bulk).exclude(taken)


def _to_come(bulk: BulkReplay) -> int:
    return _to_enlist(bulk).count()


@transaction.atomic
def _move(
    bulk: BulkReplay, allowed: tuple[BulkStatus, ...], to: BulkStatus, word: tuple[str, str, str], **times: datetime
) -> None:
    """`word` is what was asked for, by whom and why."""
    verb, by, reason = word
    before = bulk.status
    asked = BulkReplay.objects.filter(pk=bulk.pk, status__in=allowed)
    moved = asked.update(status=to, last_changed_by=by[:150], **times)
    bulk.refresh_from_db()
    if not moved:
        raise BulkRefused(f"Bulk replay {bulk.pk} is {bulk.status}, so it cannot become {to}.")
    facts = {"criteria": bulk.criteria, "letters": bulk.planned_events}
    _audit(bulk, verb, by, reason, {"status": before}, {"status": bulk.status, **facts})


def _audit(bulk: BulkReplay, verb: str, by: str, reason: str, before: Facts | None, after: Facts) -> None:
    audit(by=by, action=f"bulk.{verb}", target=bulk, reason=reason, before=before, after=after)
