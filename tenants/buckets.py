"""Where leases come from: the buckets all processes share in Redis, and this process's own share when Redis is away.

Control plane's state, reached from the event path only by a LeaseBook's refill thread and, for the local share, by the
thread that holds the lane lock; both kinds of bucket are safe to use from several threads.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha1
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from tenants.quotas import DAY_S, Limit, TokenBucket

# A day's counter outlives its day by an hour, so that a node whose clock is behind still finds it.
DAY_TTL_MS: Final = (DAY_S + 3_600) * 1_000
# One answer of Redis must come well within the socket's timeout, whatever the number of tenants.
ORDERS_PER_PIPELINE: Final = 500


class Order(NamedTuple):
    """Take up to `want` of a limit, `owed` of it in any case; a negative `want` hands an unspent lease back."""

    limit: Limit
    want: float
    owed: float = 0.0


class Grant(NamedTuple):
    """What was given and what is left, which is below zero while all processes wait for a debt to be paid."""

    granted: float
    left: float


class SharedBuckets(Protocol):
    def take(self, orders: Sequence[Order]) -> list[Grant | None]:
        """Answer every order, None for one that failed. Blocks for a round trip; does not raise when Redis is away."""
        ...

    def is_there(self) -> bool:
        """Ask without taking anything. Blocks for a round trip."""
        ...


class Script:
    """A Lua script called by its digest in a pipeline; a server that has forgotten it is taught again."""

    def __init__(self, name: str) -> None:
        self._source = Path(__file__).with_name(name).read_text(encoding="utf-8")
        self.digest = sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def teach(self, redis: Redis) -> None:
        redis.script_load(self._source)


BUCKET: Final = Script("take_from_bucket.lua")
WINDOW: Final = Script("take_from_window.lua")

Call = tuple[Script, str, tuple[float, ...]]
Answer = RedisError | list[bytes]


def call_scripts(redis: Redis, calls: Sequence[Call]) -> list[Grant | None]:
    """One pipelined round trip for all calls (more when a server has lost its scripts); None where one failed.

    Raises RedisError when nothing was heard at all.
    """
    answers = _pipelined(redis, calls)
    if any(isinstance(answer, NoScriptError) for answer in answers):
        for script in (BUCKET, WINDOW):
            script.teach(redis)
        unheard = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        again = _pipelined(redis, [calls[place] for place in unheard])
        for place, answer in zip(unheard, again, strict=True):
            answers[place] = answer
    return [None if isinstance(a, RedisError) else Grant(float(a[0]), float(a[1])) for a in answers]


def _pipelined(redis: Redis, calls: Sequence[Call]) -> list[Answer]:
    pipeline = redis.pipeline(transaction=False)
    for script, key, arguments in calls:
        pipeline.evalsha(script.digest, 1, key, *arguments)
    return cast(list[Answer], pipeline.execute(raise_on_error=False))


def day_key(limit: Limit, wall_s: float) -> str:
    """Where in Redis the counter of a daily limit is."""
    return f"{limit.redis_key}:{datetime.fromtimestamp(wall_s, UTC).date()}"


class RedisBuckets:
    """The buckets of all limits in one Redis. Thread-safe as its client is."""

    def __init__(self, redis: Redis, wall_clock: Callable[[], float]) -> None:
        self._redis = redis
        self._wall_clock = wall_clock

    def take(self, orders: Sequence[Order]) -> list[Grant | None]:
        calls = [self._call(order) for order in orders]
        grants: list[Grant | None] = []
        try:
            for start in range(0, len(calls), ORDERS_PER_PIPELINE):
                grants += call_scripts(self._redis, calls[start : start + ORDERS_PER_PIPELINE])
        except RedisError:
            # What was granted so far still counts; the rest is served from the local share.
            grants += [None] * (len(calls) - len(grants))
        return grants

    def is_there(self) -> bool:
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False

    def _call(self, order: Order) -> Call:
        limit = order.limit
        if limit.is_daily:
            return WINDOW, day_key(limit, self._wall_clock()), (limit.limit, order.want, order.owed, DAY_TTL_MS)
        return BUCKET, limit.redis_key, (limit.burst, limit.limit, order.want, order.owed)


class LocalShare:
    """What one of `process_count` processes may give on its own: rate and burst divided, a daily limit spread evenly.

    A share begins with this process's part of what Redis last said was left, and lives on between two outages, so that
    a Redis that comes and goes does not hand out a burst each time. Thread-safe.
    """

    def __init__(self, process_count: int, clock: Callable[[], float]) -> None:
        self._process_count = process_count
        self._clock = clock
        self._shares: dict[Limit, TokenBucket] = {}
        self._lock = threading.Lock()

    def take(self, order: Order, left: float) -> Grant:
        with self._lock:
            share = self._shares.get(order.limit) or self._open(order.limit, left)
            granted = share.take(order.want, self._clock(), owed=order.owed)
            return Grant(granted, share.tokens * self._process_count)

    def forget(self, limit: Limit) -> None:
        with self._lock:
            self._shares.pop(limit, None)

    def wait_s(self, limit: Limit, missing: float) -> float:
        return min(DAY_S, missing / self._refill_per_s(limit))

    def _refill_per_s(self, limit: Limit) -> float:
        return limit.limit / self._process_count / (DAY_S if limit.is_daily else 1)

    def _open(self, limit: Limit, left: float) -> TokenBucket:
        part = self._process_count
        share = TokenBucket(limit.burst / part, self._refill_per_s(limit), self._clock(), tokens=left / part)
        self._shares[limit] = share
        return share
