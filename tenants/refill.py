"""The refill thread of one process: it tops up leases from the shared buckets, all that need it in one pipelined call.

Any thread puts demands in; this one alone talks to Redis and writes what is granted. When Redis is away or late the
process gives its own local share, so that nobody gets an error, and Redis is tried again at intervals.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from tenants.buckets import Grant, LocalShare, Order, SharedBuckets
from tenants.leases import Lease

# Leases that run low within this time share one round trip; a large debt does not wait for it.
COALESCE_S: Final = 0.01
# How often an absent Redis is tried again. A try costs up to the client's timeout; meanwhile leases live on debt.
RETRY_S: Final = 1.0
# A lease that got less than it wanted, yet owes nothing, asks again for each tenth of its size.
TOP_UPS: Final = 10


class Refill:
    """Rounds of refilling, in a thread of its own between start() and stop(), or by calling round() in a test."""

    def __init__(
        self,
        buckets: SharedBuckets,
        local: LocalShare,
        *,
        late_s: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        on_redis_available: Callable[[bool], None],
        housekeeping: Callable[[], None],
        housekeeping_s: float,
    ) -> None:
        self._buckets = buckets
        self._local = local
        self._late_s = late_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_redis_available = on_redis_available
        self._housekeeping = housekeeping
        self._housekeeping_s = housekeeping_s
        self._housekeeping_at_s = clock() + housekeeping_s
        self._demands: deque[Lease] = deque()
        self._due_s: dict[Lease, float] = {}
        self._retry_at_s = 0.0
        self._wake = threading.Event()
        self._urgent = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="quota-refill", daemon=True)
        self.redis_available = True
        self.local_tokens = 0.0

    # --- any thread --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._urgent.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def demand(self, lease: Lease) -> None:
        """Queue a lease; once it is far in debt the next round begins at once. Does not block.

        A lease that admits nothing more can wait: hurrying for it cost 400 rounds a second for one tenant over quota.
        """
        self._demands.append(lease)
        if lease.spent > lease.urgent_above and not lease.short:
            self._urgent.set()
        self._wake.set()

    def help_out(self, lease: Lease, missing: float) -> float:
        """Lend from the local share to a request that Redis, by being late, would turn away."""
        if not lease.demanded or self._clock() - lease.asked_at_s < self._late_s:
            return 0.0
        return self._share(Order(lease.limit, missing), lease.left).granted

    # --- the refill thread -------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            self._urgent.wait(COALESCE_S)
            self._urgent.clear()
            self.round()

    def _pause_s(self) -> float:
        next_s = min(self._due_s.values(), default=self._housekeeping_at_s)
        if not self.redis_available:
            next_s = min(next_s, self._retry_at_s)
        return max(0.0, min(next_s, self._housekeeping_at_s) - self._clock())

    def round(self) -> None:
        """Top up every lease that asked for it or whose time has come. Blocks for a round trip to Redis."""
        now_s = self._clock()
        if now_s >= self._housekeeping_at_s:
            self._housekeeping_at_s = now_s + self._housekeeping_s
            self._housekeeping()
        leases = self._waiting(now_s)
        orders = [lease.order() for lease in leases]
        answers = self._ask_redis(orders, now_s)
        for lease, order, answer in zip(leases, orders, answers, strict=True):
            self._answer(lease, order, self._share(order, lease.left) if answer is None else answer)

    def _waiting(self, now_s: float) -> list[Lease]:
        waiting = {lease: None for lease, due_s in self._due_s.items() if due_s <= now_s}
        while self._demands:
            waiting[self._demands.popleft()] = None
        return list(waiting)

    def _ask_redis(self, orders: list[Order], now_s: float) -> list[Grant | None]:
        answers: list[Grant | None] = [None] * len(orders)
        if self.redis_available or now_s >= self._retry_at_s:
            if orders:
                answers = self._buckets.take(orders)
                self._note_redis(None not in answers)
            elif not self.redis_available:
                self._note_redis(self._buckets.is_there())
        return answers

    def _note_redis(self, available: bool) -> None:
        if not available:
            self._retry_at_s = self._clock() + RETRY_S
        if available is self.redis_available:
            return
        self.redis_available = available
        if available:
            # Whoever waits for the slower local share asks the shared bucket in the next round.
            self._due_s = dict.fromkeys(self._due_s, self._clock())
        self._on_redis_available(available)

    def _share(self, order: Order, left: float) -> Grant:
        grant = self._local.take(order, left)
        # A figure for the metrics: an addition lost between two threads is accepted.
        self.local_tokens += grant.granted
        return grant

    def _answer(self, lease: Lease, order: Order, grant: Grant) -> None:
        wait_s = self._wait_s(lease, order.want, grant)
        lease.accept(order.want, grant, self._clock() + wait_s)
        if lease.short:
            self._due_s[lease] = self._clock() + max(wait_s, COALESCE_S)
            return
        self._due_s.pop(lease, None)
        if lease.spent > lease.refill_above:  # what was charged during the round trip asked for nothing
            lease.demand()

    def _wait_s(self, lease: Lease, want: float, grant: Grant) -> float:
        """Until the shared bucket is out of debt and has one token, or a good deal where the lease still has some."""
        balance = lease.granted + grant.granted - lease.spent
        missing = (min(want - grant.granted, lease.size / TOP_UPS) if balance >= 1 else 1.0) - grant.left
        if self.redis_available:
            return lease.limit.wait_s(missing, self._wall_clock())
        return self._local.wait_s(lease.limit, max(0.0, missing))

    def is_waiting(self, lease: Lease) -> bool:
        return lease in self._due_s

    def hand_back(self, leases: list[Lease]) -> None:
        """Return what is unspent and report what is owed; tokens of the local share go with the rest.

        That is harmless: a bucket never holds more than its burst.
        """
        owing = [(lease.limit, lease.settle()) for lease in leases]
        orders = [Order(limit, owed, max(0.0, owed)) for limit, owed in owing if owed]
        if orders and self.redis_available:
            self._buckets.take(orders)
