"""How fast letters are sent again: one rate for all senders, and the tenant's own quota where a bulk replay asks.

Control plane. The rate is a token bucket in Redis; while Redis is away each sender keeps to it by itself, which is why
one process a node sends at a time.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from django.conf import settings

from tenants.buckets import Order, SharedBuckets
from tenants.models import Tenant
from tenants.quotas import Limit, Quota, Scope, TokenBucket, What, limits_of

# No tenant can have this name, so its bucket is nobody's quota.
OWNER = "_replay"
# A large record costs live traffic more than a small one: each further part of this size counts as one more event.
BYTES_A_TOKEN = 16 << 10
# Sent in this many portions a second, so that a replay is a trickle beside live traffic and not a burst each second.
PORTIONS_PER_S = 5


class ReplayRate:
    """The cap of `max_per_s` events, and this process's own of bytes where there is one. Used by one thread."""

    def __init__(
        self,
        shared: SharedBuckets,
        max_per_s: int,
        now_s: Callable[[], float] = time.monotonic,
        send_rate: TokenBucket | None = None,
    ) -> None:
        self.portion = max(1, max_per_s // PORTIONS_PER_S)
        self._shared, self._now_s, self._send_rate = shared, now_s, send_rate
        self._limit = Limit(OWNER, Scope.TENANT, "", What.EVENTS_PER_S, max_per_s, self.portion)
        self._local = TokenBucket(self.portion, max_per_s, now_s())

    def take(self) -> int:
        """How many events may be sent now, up to a portion; 0: come back in a moment."""
        if self._send_rate is not None and self._send_rate.take(1.0, self._now_s()) < 1.0:
            return 0
        taken = self._take(float(self.portion), 0.0)
        whole = int(taken)
        self.give_back(taken - whole)
        return whole

    def give_back(self, events: float) -> None:
        """They were not sent after all."""
        if events > 0:
            self._take(-events, -events)

    def owe(self, sizes_bytes: Sequence[int]) -> None:
        """What large records cost beyond one each, and the bytes of all: buckets go below zero, and the next portion
        waits."""
        extra = float(sum(size_bytes // BYTES_A_TOKEN for size_bytes in sizes_bytes))
        if extra:
            self._take(extra, extra)
        if self._send_rate is not None:
            total_bytes = float(sum(sizes_bytes))
            self._send_rate.take(total_bytes, self._now_s(), owed=total_bytes)

    def _take(self, want: float, owed: float) -> float:
        grant = self._shared.take([Order(self._limit, want, owed)])[0]
        # The local bucket is drawn on either way: a Redis that comes and goes must not double the rate.
        local = self._local.take(want, self._now_s(), owed=owed)
        return local if grant is None else grant.granted


_send_rate: TokenBucket | None = None


def process_send_rate() -> TokenBucket | None:
    """This process's part of FOREBAY_PRODUCER_MAX_BYTES_PER_S, as each worker has its own; a second's worth may go at
    once. It outlives a sweep, for a large portion is a debt that later ones pay."""
    global _send_rate
    bytes_per_s = settings.FOREBAY_PRODUCER_MAX_BYTES_PER_S
    if bytes_per_s and _send_rate is None:
        _send_rate = TokenBucket(bytes_per_s, bytes_per_s, time.monotonic())
    return _send_rate


def quotas_of(tenants: Iterable[str]) -> dict[str, Quota]:
    """The plans' quotas, by tenant; a tenant that is gone has none."""
    rows = Tenant.objects.filter(name__in=set(tenants)).select_related("plan")
    return {tenant.name: tenant.plan.quota for tenant in rows}


def charged(shared: SharedBuckets, wanted: Sequence[tuple[int, str, int]], quotas: dict[str, Quota]) -> set[int]:
    """Which of (letter id, tenant, bytes) their tenants' shared quotas have room for now; those are charged, whole.

    Redis away: none, for what cannot be charged is not sent."""
    orders: list[Order] = []
    owners: list[int] = []
    for letter_id, tenant, size_bytes in wanted:
        for limit in limits_of(tenant, Scope.TENANT, "", quotas.get(tenant, Quota())):
            amount = size_bytes if limit.what is What.BYTES_PER_S else 1
            # One that is larger than a burst would never pass: it takes the whole of it.
            orders.append(Order(limit, float(min(amount, limit.burst))))
            owners.append(letter_id)
    taken: dict[int, list[Order]] = defaultdict(list)
    refused: set[int] = set()
    for letter_id, order, grant in zip(owners, orders, shared.take(orders) if orders else [], strict=True):
        if grant is not None and grant.granted > 0:
            taken[letter_id].append(order._replace(want=-grant.granted, owed=-grant.granted))
        if grant is None or grant.granted < order.want:
            refused.add(letter_id)
    back = [order for letter_id in refused for order in taken[letter_id]]
    if back:
        shared.take(back)
    return {letter_id for letter_id, _, _ in wanted} - refused
