"""Control plane: how much of a limit is taken right now, to look at; nothing is taken by it. Reads what the scripts of
tenants/buckets.py keep in Redis.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis

from tenants.buckets import day_key
from tenants.quotas import Limit


def used_of(client: Redis, limits: Sequence[Limit], wall_s: float) -> list[float]:
    """Of each limit what is taken of its burst, or of its day. One round trip; raises RedisError.

    What workers hold as leases counts as taken: of a rate a quarter of a second's worth at most, of a day a hundredth
    of the whole quota in all of them together, which may be far more than what was sent."""
    pipe = client.pipeline(transaction=False)
    for limit in limits:
        if limit.is_daily:
            pipe.get(day_key(limit, wall_s))
        else:
            pipe.hmget(limit.redis_key, "tokens", "refilled_at")
    pipe.time()
    *answers, (seconds, microseconds) = pipe.execute()
    redis_s = seconds + microseconds / 1_000_000
    return [_used(limit, answer, redis_s) for limit, answer in zip(limits, answers, strict=True)]


def _used(limit: Limit, answer: Any, redis_s: float) -> float:
    if limit.is_daily:
        return float(answer or 0)
    tokens, refilled_at_s = answer
    if tokens is None:
        return 0.0
    filled = float(tokens) + max(0.0, redis_s - float(refilled_at_s)) * limit.refill_per_s
    return limit.burst - min(limit.burst, filled)
