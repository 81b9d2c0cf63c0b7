"""One look at what the workers say of breakers and of what waits, for every page that shows it."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from redis import Redis, RedisError

from ingest.breaker_reports import BreakersReport, read_breakers
from ingest.breaker_store import SharedStanding, standings
from ingest.console.breakers_moves import Move, fresh_moves
from ingest.console.live import MISSING_AFTER_S
from ingest.dataplane.breaker import State
from ingest.dataplane.policy import Header, UnusableTopic
from ingest.heartbeats import WorkerStatus, workers
from ingest.journal_reports import FlowReport, JournalsReport, read_journals
from ingest.parked import ParkedEntry, read_parked
from ingest.published_header import newest_header
from ingest.shared_redis import shared_redis
from ingest.unusable_topics import unusable_of


class Backlog(NamedTuple):
    """A tenant's events for a topic that wait, in all workers together."""

    tenant: str
    topic: str
    events: int
    oldest_minute: int | None
    parked: str


class Look(NamedTuple):
    """What Redis had to tell; the reports are of the workers that were heard, `last_words` of the missing.
    `partitions` are those of the topics that the builder has verified, `unusable` those that it could not."""

    wall_s: float
    heard: Sequence[WorkerStatus]
    missing: Sequence[WorkerStatus]
    standings: dict[str, SharedStanding]
    parked: Sequence[ParkedEntry]
    breakers: dict[str, BreakersReport]
    journals: dict[str, JournalsReport]
    last_words: dict[str, JournalsReport]
    backlogs: Sequence[Backlog]
    header: Header | None
    partitions: dict[str, int]
    fresh: Sequence[Move]
    unusable: Mapping[str, UnusableTopic]

    def standing(self, topic: str) -> SharedStanding:
        """Where a breaker stands for all; one that never moved is closed."""
        return self.standings.get(topic) or SharedStanding(topic, State.CLOSED)

    @property
    def in_flight_events(self) -> int:
        """In librdkafka's hands, in all workers."""
        return sum(one.in_flight_events for one in self.heard)

    @property
    def pending_events(self) -> int:
        """Waiting in the journals of all workers."""
        return sum(one.journal_pending_events for one in self.heard)

    @property
    def untold_flows(self) -> int:
        """How many more are behind than the workers have told of."""
        return sum(report.flows_behind - len(report.flows) for report in self.journals.values())


def look_now() -> Look | None:
    """None while Redis is away."""
    try:
        with shared_redis() as client:
            return look(client, time.time())
    except RedisError:
        return None


def look(client: Redis, wall_s: float) -> Look:
    """A handful of round trips. Raises RedisError."""
    known = workers(client)
    heard = [one for one in known if wall_s - one.seen_wall_s <= MISSING_AFTER_S]
    names = {one.name for one in heard}
    told_of_journals = read_journals(client)
    journals = {name: told for name, told in told_of_journals.items() if name in names}
    header = newest_header(client)
    return Look(
        wall_s=wall_s,
        heard=heard,
        missing=[one for one in known if one.name not in names],
        standings={one.topic: one for one in standings(client)},
        parked=read_parked(client),
        breakers={name: told for name, told in read_breakers(client).items() if name in names},
        journals=journals,
        last_words={name: told for name, told in told_of_journals.items() if name not in names},
        backlogs=backlogs(flow for told in journals.values() for flow in told.flows),
        header=header,
        partitions={topic.name: topic.partitions for topic in header.topics} if header else {},
        fresh=fresh_moves(client),
        unusable=unusable_of(header),
    )


def backlogs(flows: Iterable[FlowReport]) -> list[Backlog]:
    """What several workers have of one tenant and topic is added up; the largest first."""
    by_place: dict[tuple[str, str], list[FlowReport]] = defaultdict(list)
    for flow in flows:
        by_place[flow.tenant, flow.topic].append(flow)
    found = [_together(*place, told) for place, told in by_place.items()]
    return sorted(found, key=lambda one: (-one.events, one.tenant, one.topic))


def _together(tenant: str, topic: str, told: Sequence[FlowReport]) -> Backlog:
    minutes = [flow.oldest_minute for flow in told if flow.oldest_minute is not None]
    parked = next((flow.parked for flow in told if flow.parked), "")
    return Backlog(tenant, topic, sum(flow.events for flow in told), min(minutes, default=None), parked)
