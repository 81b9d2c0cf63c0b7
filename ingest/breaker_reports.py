"""What a worker tells of its breakers: where each stands there, its window, and what failed last.

Written by the chores' thread of each worker, once a second, beside its heartbeat; read by the console. Where a breaker
stands for all workers together is in `ingest.breaker_store`.
"""

from collections.abc import Iterable

import msgspec
from redis import Redis

from ingest.dataplane.breaker import Breaker, State
from ingest.heartbeats import BREAKERS, told

# Those that are not closed come first, so that what is left out of a thousand topics is well.
TOLD_BREAKERS = 100


class FailureReport(msgspec.Struct, frozen=True):
    """Calls that failed at once; `why` has librdkafka's names of what the last of them failed with."""

    at_wall_ms: int
    calls: int
    why: str


class BreakerReport(msgspec.Struct, frozen=True):
    """One breaker in one worker; `topic` is empty for the cluster's."""

    topic: str
    state: State
    since_wall_ms: int
    known: int
    failed: int
    failures: tuple[FailureReport, ...] = ()


class BreakersReport(msgspec.Struct, frozen=True):
    """All that one worker tells; of `breakers` that are none of them it has nothing to say but CLOSED."""

    at_wall_ms: int
    breakers: tuple[BreakerReport, ...]

    def of(self, topic: str) -> BreakerReport | None:
        """The breaker of a topic, the cluster's under the empty name."""
        return next((one for one in self.breakers if one.topic == topic), None)


def breakers_report(breakers: Iterable[Breaker], wall_ms: int) -> BreakersReport:
    """What there is to tell of a worker's breakers."""
    worst_first = sorted(breakers, key=lambda one: (one.topic != "", one.state is State.CLOSED, one.topic))
    return BreakersReport(wall_ms, tuple(_report(one, wall_ms) for one in worst_first[:TOLD_BREAKERS]))


def read_breakers(redis: Redis) -> dict[str, BreakersReport]:
    """By the worker's name. One round trip; raises RedisError."""
    return told(redis, BREAKERS, BreakersReport)


def _report(breaker: Breaker, wall_ms: int) -> BreakerReport:
    standing, window = breaker.standing(), breaker.window()
    failures = tuple(FailureReport(_before(wall_ms, one.age_s), one.calls, one.why) for one in window.failures)
    since_wall_ms = _before(wall_ms, standing.age_s)
    return BreakerReport(breaker.topic, standing.state, since_wall_ms, window.known, window.failed, failures)


def _before(wall_ms: int, age_s: float) -> int:
    return wall_ms - int(age_s * 1000)
