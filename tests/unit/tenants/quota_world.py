"""What the quota tests run in: a clock that is moved by hand, and shared buckets kept in memory."""

from collections.abc import Sequence

from tenants.buckets import Grant, Order
from tenants.lease_book import LeaseBook
from tenants.quotas import DAY_S, Limit, TokenBucket

UNLIMITED_BYTES = 8 << 20


class FakeClock:
    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class MemoryBuckets:
    """The buckets of all processes, which can be taken away as Redis can."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.buckets: dict[tuple[Limit, int], TokenBucket] = {}
        self.away = False
        self.round_trips = 0
        self.orders: list[Order] = []

    def take(self, orders: Sequence[Order]) -> list[Grant | None]:
        self.round_trips += 1
        if self.away:
            return [None] * len(orders)
        self.orders += orders
        return [self._grant(order) for order in orders]

    def is_there(self) -> bool:
        self.round_trips += 1
        return not self.away

    def bucket(self, limit: Limit) -> TokenBucket:
        day = int(self._clock() // DAY_S) if limit.is_daily else 0
        fresh = TokenBucket(limit.burst, limit.refill_per_s, self._clock())
        return self.buckets.setdefault((limit, day), fresh)

    def _grant(self, order: Order) -> Grant:
        bucket = self.bucket(order.limit)
        return Grant(bucket.take(order.want, self._clock(), owed=order.owed), bucket.tokens)


def open_book(
    buckets: MemoryBuckets, clock: FakeClock, *, process_count: int = 1, max_request_events: int = 10_000
) -> LeaseBook:
    return LeaseBook(
        buckets,
        lease_s=0.25,
        process_count=process_count,
        max_request_events=max_request_events,
        max_request_bytes=UNLIMITED_BYTES,
        clock=clock,
        wall_clock=clock,
    )
