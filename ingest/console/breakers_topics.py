"""What the pages say of the topics, and of the tenants whose events for one of them wait. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from ingest.console.ages import age_of_minute
from ingest.console.breakers_facts import moment, since_of
from ingest.console.breakers_look import Backlog, Look
from ingest.dataplane.breaker import State
from ingest.dataplane.policy import UnusableTopic
from ingest.parked import ParkedEntry
from ingest.unusable_topics import in_words, what_to_do


class _OfTopic(Protocol):
    @property
    def topic(self) -> str: ...


T = TypeVar("T", bound=_OfTopic)


class TopicRow(NamedTuple):
    """One topic in the list; `known` and `failed` are of all its windows. Without `partitions` the builder has
    not verified it, `unusable` says why as far as that is known."""

    topic: str
    partitions: int | None
    unusable: UnusableTopic | None
    state: State
    since: datetime | None
    why: str
    known: int
    failed: int
    parked: int
    tenants: int
    events: int
    oldest: str

    @property
    def is_well(self) -> bool:
        """Whether an operator may pass over it."""
        return self.state is State.CLOSED and not self.parked and not self.events and self.partitions is not None

    @property
    def cannot_be_used(self) -> str:
        """Why, part of a sentence; empty where it is not known."""
        return in_words(self.unusable) if self.unusable else ""

    @property
    def what_to_do(self) -> str:
        """About that."""
        return what_to_do(self.unusable) if self.unusable else ""


class Waiting(NamedTuple):
    """A tenant's events for a topic that wait, and what for."""

    tenant: str
    topic: str
    events: int
    oldest: str
    why: str
    is_parked: bool
    since: datetime | None = None


def topic_rows(look: Look, asked: str = "") -> list[TopicRow]:
    """All that the cluster, a rule, a breaker or a backlog knows, with `asked` in the name; those in trouble first."""
    behind, parked = _by_topic(look.backlogs), _by_topic(look.parked)
    windows = _by_topic(one for report in look.breakers.values() for one in report.breakers)
    routed = {rule.topic for rule in look.header.rules} & set(look.unusable) if look.header else set()
    known = {*look.partitions, *routed, *look.standings, *behind, *parked}
    names = {name for name in known if name and asked in name}
    rows = []
    for name in names:
        standing, waiting = look.standing(name), behind[name]
        minutes = [one.oldest_minute for one in waiting if one.oldest_minute is not None]
        row = TopicRow(
            topic=name,
            partitions=look.partitions.get(name),
            unusable=look.unusable.get(name),
            state=standing.state,
            since=since_of(standing),
            why=standing.cause if standing.state is not State.CLOSED else "",
            known=sum(one.known for one in windows[name]),
            failed=sum(one.failed for one in windows[name]),
            parked=len(parked[name]),
            tenants=len(waiting),
            events=sum(one.events for one in waiting),
            oldest=age_of_minute(min(minutes, default=None), look.wall_s),
        )
        rows.append(row)
    return sorted(rows, key=lambda row: (row.is_well, row.state is State.CLOSED, -row.events, row.topic))


def waiting_of(look: Look, topic: str | None = None) -> list[Waiting]:
    """Who waits, of one topic or of all: the parked first, then whoever has most."""
    behind = {(one.tenant, one.topic): one for one in look.backlogs if topic in (None, one.topic)}
    parked = [one for one in look.parked if topic in (None, one.topic)]
    rows = [_parked(one, behind.pop((one.tenant, one.topic), None), look.wall_s) for one in parked]
    return [*rows, *(_behind(one, look) for one in behind.values())]


def _parked(entry: ParkedEntry, behind: Backlog | None, wall_s: float) -> Waiting:
    oldest = age_of_minute(behind.oldest_minute, wall_s) if behind else ""
    why = f"{entry.code}: {entry.detail}" if entry.detail else entry.code
    return Waiting(entry.tenant, entry.topic, entry.pending, oldest, why, True, moment(entry.since_wall_ms))


def _behind(one: Backlog, look: Look) -> Waiting:
    oldest = age_of_minute(one.oldest_minute, look.wall_s)
    return Waiting(one.tenant, one.topic, one.events, oldest, _why(one, look), False)


def _why(one: Backlog, look: Look) -> str:
    if one.parked:
        return f"parked: {one.parked}"
    for whose, standing in (("the cluster's", look.standing("")), ("its topic's", look.standing(one.topic))):
        if standing.state not in (State.CLOSED, State.DISABLED):
            return f"{whose} breaker is {standing.state}"
    if one.topic in look.unusable:
        return f"the topic cannot be used: {in_words(look.unusable[one.topic])}"
    if look.header and one.topic not in look.partitions:
        return "the topic has not been seen in the cluster"
    return "it is on its way out, the oldest first"


def _by_topic(rows: Iterable[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for row in rows:
        found[row.topic].append(row)
    return found
