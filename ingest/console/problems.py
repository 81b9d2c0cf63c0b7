"""Is it healthy, and if not, whose fault is it: the sentence at the top of the overview. Pure."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from ingest.alerts.kinds import CAN_WAIT, TITLES, Kind
from ingest.console.ages import age_of_minute
from ingest.console.live import Live
from ingest.dataplane.breaker import State
from ingest.models import Incident
from ingest.unusable_topics import in_words, what_to_do

_FULL_RATIO = 0.8
# What these alert of is seen here as it is now, or can wait for the morning.
_SEEN_LIVE = frozenset({Kind.BUFFER_FILLING, Kind.BREAKER_NOT_CLOSED, Kind.WORKER_MISSING, Kind.REDIS_AWAY})
_ALERTS_THAT_ARE_PROBLEMS = frozenset(Kind) - _SEEN_LIVE - CAN_WAIT


class Problem(NamedTuple):
    """`owner` is who can mend it; `url_name` the page that shows more."""

    owner: str
    text: str
    url_name: str
    since: datetime | None = None


REDIS_AWAY = Problem(
    "Redis",
    "does not answer. Workers go on with local quotas and breakers; what they would say of themselves is not shown.",
    "admin:ingest_incident_changelist",
)


def problems_of(live: Live | None, alerts: Iterable[Incident], unwatched_s: float) -> list[Problem]:
    """`live` is None where Redis did not answer; `alerts` are those that are open, and count for nothing new once they
    have not been evaluated for `unwatched_s`."""
    alerted = list(_alerted(alerts))
    if live is None:
        return [REDIS_AWAY, *alerted]
    told = (_kafka(live), _workers(live), _topics(live), _stuck(live), _buffers(live), _unwatched(live, unwatched_s))
    return [*(problem for problems in told for problem in problems), *alerted]


def _kafka(live: Live) -> Iterator[Problem]:
    if all(breaker.state is State.CLOSED for breaker in live.breakers):
        yield from _silence(live)
    for breaker in live.breakers:
        if breaker.state is State.CLOSED:
            continue
        owner = f"Topic {breaker.topic}" if breaker.topic else "Kafka"
        if breaker.by:
            text = f"is {breaker.state} by {breaker.by}: {breaker.cause}"
        else:
            text = f"fails, its breaker is {breaker.state}: {breaker.cause}"
        yield Problem(owner, text, "console:breakers", _moment(breaker.since_wall_ms))


def _silence(live: Live) -> Iterator[Problem]:
    """A breaker needs some failed calls before it opens; a few events may wait for Kafka long before that."""
    waiting = _waiting_for_kafka(live)
    if _is_silent(live):
        wait = "1 event waits" if waiting == 1 else f"{waiting:,} events wait"
        text = f"has acknowledged nothing in the last minute, and {wait}."
        yield Problem("Kafka", text, "console:journals")


def _is_silent(live: Live) -> bool:
    return _waiting_for_kafka(live) > 0 and not live.totals.delivered_events


def _waiting_for_kafka(live: Live) -> int:
    """Not what waits for an operator, or for a topic that cannot be used."""
    for_others = sum(parked.pending for parked in live.parked) + sum(one.events for one in live.stuck if one.unusable)
    return live.totals.pending_events - for_others


def _workers(live: Live) -> Iterator[Problem]:
    if not live.workers:
        yield Problem("Forebay", "has no worker that is heard: nothing is accepted.", "console:journals")
    for worker in live.missing:
        seen = datetime.fromtimestamp(worker.seen_wall_s, UTC)
        yield Problem(
            "Forebay", f"misses the worker {worker.name}: it says nothing any more.", "console:journals", seen
        )


def _topics(live: Live) -> Iterator[Problem]:
    for parked in live.parked:
        text = f"is parked for {parked.tenant}, {parked.pending:,} events wait: {parked.code} {parked.detail}"
        yield Problem(f"Topic {parked.topic}", text, "console:breakers", _moment(parked.since_wall_ms))


def _stuck(live: Live) -> Iterator[Problem]:
    for stuck in live.stuck:
        wait = "1 event waits" if stuck.events == 1 else f"{stuck.events:,} events wait"
        oldest = age_of_minute(stuck.oldest_minute, live.wall_s)
        if stuck.unusable:
            why = f"{in_words(stuck.unusable)}. {what_to_do(stuck.unusable)}"
            yield Problem(f"Topic {stuck.topic}", f"cannot be used, {wait}: {why}", "console:breakers")
        elif not _is_silent(live):  # which says it of all of them
            text = f"is behind though its breaker is closed: {wait}, the oldest for {oldest}."
            yield Problem(f"Topic {stuck.topic}", text, "console:breakers")


def _buffers(live: Live) -> Iterator[Problem]:
    for name, ratio in (("journal", live.totals.journal_ratio), ("producer's queue", live.totals.queue_ratio)):
        if ratio > _FULL_RATIO:
            yield Problem("Forebay", f"has a {name} that is {ratio:.0%} full.", "console:journals")


def _unwatched(live: Live, unwatched_s: float) -> Iterator[Problem]:
    # Of a platform that has just begun nothing was evaluated yet.
    begun_wall_s = min((worker.started_wall_s for worker in live.workers), default=live.wall_s)
    evaluated_wall_s = live.alerts_evaluated_wall_s or begun_wall_s
    if live.wall_s - evaluated_wall_s > unwatched_s:
        text = "evaluates no alerts: Celery's beat or worker does not run, or the database does not answer it."
        since = datetime.fromtimestamp(evaluated_wall_s, UTC)
        yield Problem("Forebay", text, "admin:ingest_incident_changelist", since)


def _alerted(alerts: Iterable[Incident]) -> Iterator[Problem]:
    for alert in alerts:
        if alert.kind in _ALERTS_THAT_ARE_PROBLEMS:
            title = TITLES[Kind(alert.kind)]
            text = f"alerts that {title[0].lower()}{title[1:]} ({alert.subject}): {alert.value}"
            yield Problem("Forebay", text, "admin:ingest_incident_changelist", alert.opened_at)


def _moment(wall_ms: int) -> datetime | None:
    return datetime.fromtimestamp(wall_ms / 1000, UTC) if wall_ms else None
