"""The breakers of all processes as Redis keeps them: where each stands, who may try, and what moved them.

Used by each worker's board on its own thread, by `manage.py breaker` and the console. Every call is a round trip and
raises RedisError when Redis is away.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
from redis import Redis

from ingest.dataplane.breaker import Breaker, BreakerLimits, Standing, State, TrialReport

PREFIX = "forebay:{breakers}"
_VERSION, _EPOCHS, _TRANSITIONS = f"{PREFIX}:version", f"{PREFIX}:epochs", f"{PREFIX}:transitions"
_SOURCE = Path(__file__).with_name("sync_breaker.lua").read_text(encoding="utf-8")
# Redis keeps a permit a little longer than its holder does: one used in its last moment is reported in time.
_PERMIT_GRACE_S = 2.0
CLUSTER = "cluster"


class SharedStanding(msgspec.Struct, frozen=True):
    """Where a breaker stands for all; `topic` is empty for the cluster's."""

    topic: str
    state: State
    epoch: int = 0
    since_wall_ms: int = 0
    cause: str = ""
    by: str = ""


class RecordedTransition(msgspec.Struct, frozen=True):
    """One move of a breaker: `by` an operator, or by `worker` itself."""

    topic: str
    old: State
    new: State
    at_wall_ms: int
    cause: str
    by: str
    worker: str


class BreakerStore:
    """What one worker tells Redis and hears from it."""

    def __init__(
        self, redis: Redis, worker: str, limits: BreakerLimits, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._worker = worker
        self._limits = limits
        self._now_s = now_s
        self._sync = redis.register_script(_SOURCE)

    def version(self) -> bytes | None:
        """It moves with every breaker; None when Redis has forgotten all."""
        return cast("bytes | None", self._redis.get(_VERSION))

    def epochs(self) -> dict[str, int]:
        """The epoch of every topic's breaker that ever moved, and of the cluster's under ''."""
        found = cast("dict[bytes, bytes]", self._redis.hgetall(_EPOCHS))
        return {topic_of(field): int(epoch) for field, epoch in found.items()}

    def exchange(self, breaker: Breaker) -> int:
        """Tell where it stands and how its trials went; adopt where it stands for all. Returns that epoch.

        An answer that is lost is asked for again, and a result in it may then count for two of this worker's trials."""
        asked_at_s = self._now_s()
        report, mine = breaker.trial_report(), breaker.standing()
        answer = self._call(breaker.topic, mine, report)
        state, epoch, age_ms, cause, by, override, *permits = answer
        shared = Standing(
            State(state.decode()), int(epoch), int(age_ms) / 1000, cause.decode(), by.decode(), int(override)
        )
        breaker.adopt(shared)
        breaker.reported(report, [permit.decode() for permit in permits], asked_at_s)
        return shared.epoch

    def _call(self, topic: str, mine: Standing, report: TrialReport) -> list[Any]:
        limits, field = self._limits, field_of(topic)
        keys = [f"{PREFIX}:{field}", f"{PREFIX}:{field}:permits", _EPOCHS, _VERSION, _TRANSITIONS]
        stand = [mine.state.value, mine.epoch, _ms(mine.age_s), mine.cause, mine.by, mine.override]
        lives = [_ms(limits.permit_s + _PERMIT_GRACE_S), _ms(limits.trial_result_s)]
        arguments: list[str | int | float] = [field, self._worker, *stand, limits.trials, limits.failure_ratio, *lives]
        arguments += [int(report.wanted), report.successes, report.failures, report.given_back, *report.used]
        return cast("list[Any]", self._sync(keys, arguments))


def standings(redis: Redis) -> list[SharedStanding]:
    """Every breaker that ever moved, the cluster's always and first."""
    fields = sorted({CLUSTER, *(field.decode() for field in cast("list[bytes]", redis.hkeys(_EPOCHS)))})
    pipe = redis.pipeline(transaction=False)
    for field in fields:
        pipe.hgetall(f"{PREFIX}:{field}")
    return [_shared(topic_of(field.encode()), found) for field, found in zip(fields, pipe.execute(), strict=True)]


def standing_of(redis: Redis, topic: str) -> SharedStanding:
    """One breaker, the cluster's under the empty name."""
    return _shared(topic, cast("dict[bytes, bytes]", redis.hgetall(f"{PREFIX}:{field_of(topic)}")))


def transitions(redis: Redis, count: int = 50) -> list[RecordedTransition]:
    """The last moves of all breakers, newest first."""
    found = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrevrange(_TRANSITIONS, count=count))
    return [_recorded(number, entry) for number, entry in found]


def transitions_after(redis: Redis, number: str, count: int) -> list[tuple[str, RecordedTransition]]:
    """The moves that came after one, by their numbers in the stream, oldest first; all there are after `0`."""
    found = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrange(_TRANSITIONS, f"({number}", count=count))
    return [(number.decode(), _recorded(number, entry)) for number, entry in found]


def field_of(topic: str) -> str:
    """What a breaker is called in Redis; a topic may be called anything, `cluster` too."""
    return f"topic:{topic}" if topic else CLUSTER


def topic_of(field: bytes) -> str:
    """The way back."""
    return field.decode().removeprefix("topic:") if field != CLUSTER.encode() else ""


def _recorded(number: bytes, entry: dict[bytes, bytes]) -> RecordedTransition:
    return RecordedTransition(
        topic=topic_of(entry[b"breaker"]),
        old=State(entry[b"from"].decode()),
        new=State(entry[b"to"].decode()),
        at_wall_ms=int(number.partition(b"-")[0]),
        cause=entry[b"cause"].decode(),
        by=entry[b"by"].decode(),
        worker=entry[b"worker"].decode(),
    )


def _shared(topic: str, found: dict[bytes, bytes]) -> SharedStanding:
    if not found:
        return SharedStanding(topic, State.CLOSED)
    return SharedStanding(
        topic,
        State(found[b"state"].decode()),
        int(found[b"epoch"]),
        int(float(found[b"since_wall_ms"])),
        found[b"cause"].decode(),
        found[b"by"].decode(),
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
