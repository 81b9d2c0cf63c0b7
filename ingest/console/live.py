"""How all workers together are right now, as they say in Redis: one look for every page that shows it."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, cast

import msgspec
from django.conf import settings
from redis import Redis

from ingest.alerts.kinds import EVALUATED
from ingest.breaker_store import SharedStanding, standings
from ingest.dataplane.breaker import State
from ingest.dataplane.last_minute import percentile_ms
from ingest.heartbeats import WorkerStatus, breaker_name, workers
from ingest.journal_reports import read_journals
from ingest.parked import ParkedEntry, read_parked
from ingest.published_header import newest_header
from ingest.tenant_minutes import Limited, busiest, limited
from ingest.unusable_topics import Stuck, stuck_topics, unusable_of

# A worker speaks once a second; one that was not heard for so long is missing, or Redis was away for it.
MISSING_AFTER_S = 10.0


class Totals(msgspec.Struct, frozen=True):
    """All workers that were heard, summed; a latency is None while too little was acknowledged in the last minute."""

    workers: int
    accepted_events: float
    rejected_events: float
    delivered_events: float
    delivery_errors: float
    throttled_requests: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    queue_ratio: float
    journal_ratio: float
    pending_events: int
    in_flight_events: int

    @property
    def error_ratio(self) -> float:
        """Of the last minute's delivery attempts."""
        tried = self.delivered_events + self.delivery_errors
        return self.delivery_errors / tried if tried else 0.0


class Live(NamedTuple):
    """One look at Redis. `alerts_evaluated_wall_s` is None where nobody has evaluated them yet."""

    wall_s: float
    totals: Totals
    workers: Sequence[WorkerStatus]
    missing: Sequence[WorkerStatus]
    breakers: Sequence[SharedStanding]
    parked: Sequence[ParkedEntry]
    busiest: Sequence[tuple[str, float]]
    limited: Sequence[Limited]
    alerts_evaluated_wall_s: float | None
    stuck: Sequence[Stuck] = ()


def look(client: Redis, wall_s: float) -> Live:
    """A handful of round trips. Raises RedisError."""
    known = workers(client)
    missing = [one for one in known if wall_s - one.seen_wall_s > MISSING_AFTER_S]
    heard = [one for one in known if one not in missing]
    evaluated = cast(bytes | None, client.get(EVALUATED))
    places = standings(client)
    return Live(
        wall_s,
        totals_of(heard),
        heard,
        missing,
        places,
        read_parked(client),
        busiest(client, wall_s=wall_s),
        limited(client, wall_s=wall_s),
        float(evaluated) if evaluated else None,
        _stuck(client, {one.name for one in heard}, places, wall_s),
    )


def _stuck(client: Redis, heard: Collection[str], places: Sequence[SharedStanding], wall_s: float) -> list[Stuck]:
    header = newest_header(client)
    return stuck_topics(
        [flow for name, told in read_journals(client).items() if name in heard for flow in told.flows],
        unusable_of(header),
        {breaker_name(place.topic) for place in places if place.state is not State.CLOSED},
        wall_s,
        settings.FOREBAY_ALERT_BACKLOG_AGE_S,
    )


def totals_of(statuses: Iterable[WorkerStatus]) -> Totals:
    """Counts are summed, percentiles taken of the sum of all buckets, of utilisations the fullest is told."""
    heard = list(statuses)
    up_to = Counter[str]()
    for one in heard:
        up_to.update(one.produce_last_minute_up_to)
    return Totals(
        workers=len(heard),
        accepted_events=sum(one.accepted_last_minute_events for one in heard),
        rejected_events=sum(one.rejected_last_minute_events for one in heard),
        delivered_events=sum(one.delivered_last_minute_events for one in heard),
        delivery_errors=sum(one.delivery_errors_last_minute for one in heard),
        throttled_requests=sum(one.throttled_last_minute_requests for one in heard),
        p50_ms=percentile_ms(up_to, 0.50),
        p95_ms=percentile_ms(up_to, 0.95),
        p99_ms=percentile_ms(up_to, 0.99),
        queue_ratio=max((one.queue_utilisation_ratio for one in heard), default=0.0),
        journal_ratio=max(map(_journal_ratio, heard), default=0.0),
        pending_events=sum(one.journal_pending_events for one in heard),
        in_flight_events=sum(one.in_flight_events for one in heard),
    )


def _journal_ratio(status: WorkerStatus) -> float:
    return status.journal_used_bytes / status.journal_max_bytes if status.journal_max_bytes else 0.0
