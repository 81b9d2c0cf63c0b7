"""How much a caller may send: the quota, the limits it consists of, what a refusal tells, and the token bucket.

Pure control-plane vocabulary: no Django, no Redis, no clock of its own. The values are immutable and shared by every
thread; a TokenBucket belongs to one thread or to whoever holds its owner's lock.
"""

from enum import StrEnum
from typing import Final

import msgspec

DAY_S: Final = 86_400


class Quota(msgspec.Struct, frozen=True):
    """What a plan, a tenant or a key is allowed; 0 is unlimited, and burst 0 beside a rate is one second of it."""

    events_per_s: int = 0
    burst_events: int = 0
    bytes_per_s: int = 0
    burst_bytes: int = 0
    events_per_day: int = 0
    requests_per_s_per_address: int = 0


class Scope(StrEnum):
    TENANT = "tenant"
    KEY = "key"
    ADDRESS = "address"


class What(StrEnum):
    EVENTS_PER_S = "events_per_s"
    BYTES_PER_S = "bytes_per_s"
    EVENTS_PER_DAY = "events_per_day"
    REQUESTS_PER_S = "requests_per_s"


class RefusalKind(StrEnum):
    EXHAUSTED = "exhausted"
    """Used up for now: 429, come back after `reset_s`."""
    EXCEEDS_BURST = "exceeds_burst"
    """Larger than the burst, so it can never pass: 413 `batch_exceeds_burst`."""


class Refusal(msgspec.Struct, frozen=True):
    """Which limit said no; `used` of `burst` is known to be taken; `reset_s` is 0 where waiting does not help."""

    kind: RefusalKind
    scope: Scope
    what: What
    limit: int
    burst: int
    used: int
    reset_s: float


class Limit(msgspec.Struct, frozen=True):
    """One limit of one caller. `limit` is per second, or per UTC day; `burst` is the most that can be there at once."""

    tenant: str
    scope: Scope
    key_id: str
    what: What
    limit: int
    burst: int

    @property
    def is_daily(self) -> bool:
        return self.what is What.EVENTS_PER_DAY

    @property
    def refill_per_s(self) -> float:
        """What flows back in a second; a day's window is full again only at midnight."""
        return 0.0 if self.is_daily else float(self.limit)

    @property
    def redis_key(self) -> str:
        """Names the limit in Redis; the braces keep one tenant's keys in one slot of a cluster."""
        owner = "key:" + self.key_id if self.scope is Scope.KEY else "tenant"
        return f"forebay:quota:{{{self.tenant}}}:{owner}:{self.what}"

    def wait_s(self, missing: float, wall_s: float) -> float:
        """Time until `missing` tokens can be there, at the earliest."""
        return DAY_S - wall_s % DAY_S if self.is_daily else max(0.0, missing) / self.limit


def limits_of(tenant: str, scope: Scope, key_id: str, quota: Quota) -> list[Limit]:
    """The limits that a quota sets; what is unlimited is not there, so that it costs nothing on the event path."""
    rates = (
        (What.EVENTS_PER_S, quota.events_per_s, quota.burst_events or quota.events_per_s),
        (What.BYTES_PER_S, quota.bytes_per_s, quota.burst_bytes or quota.bytes_per_s),
        (What.EVENTS_PER_DAY, quota.events_per_day, quota.events_per_day),
    )
    return [Limit(tenant, scope, key_id, what, limit, burst) for what, limit, burst in rates if limit > 0]


class TokenBucket:
    """Capacity and refill rate. Not thread-safe; `now_s` is monotonic."""

    __slots__ = ("capacity", "refill_per_s", "refilled_at_s", "tokens")

    def __init__(self, capacity: float, refill_per_s: float, now_s: float, *, tokens: float | None = None) -> None:
        self.capacity = capacity
        self.refill_per_s = refill_per_s
        self.refilled_at_s = now_s
        self.tokens = capacity if tokens is None else min(capacity, tokens)

    def take(self, want: float, now_s: float, *, owed: float = 0.0) -> float:
        """Take up to `want` tokens and return how many that were; a negative `want` puts tokens back.

        What is `owed` (at most `want`) is granted even where it is not there: the bucket goes below zero.
        """
        elapsed_s = max(0.0, now_s - self.refilled_at_s)
        filled = min(self.capacity, self.tokens + elapsed_s * self.refill_per_s)
        granted = min(want, max(filled, owed))
        self.tokens = min(self.capacity, filled - granted)
        self.refilled_at_s = max(self.refilled_at_s, now_s)
        return granted
