"""A lease is the slice of one shared limit that this process holds; an allowance is all the leases one caller needs.

On the hot event path. No Redis, no lock: `spent` is written only under the lane lock, everything a grant changes only
by the refill thread, and each side merely reads the other's numbers, so the interpreter's own ordering is enough.
"""

from collections.abc import Callable, Sequence
from typing import Final

from tenants.buckets import Grant, Order
from tenants.quotas import Limit, Refusal, RefusalKind, What

# A refusal always names a moment that lies ahead, however late the answer of Redis is.
MIN_RESET_S: Final = 0.001


class Lease:
    """What was granted to this process and what it has spent of one limit; the difference may be a debt.

    Out of debt it admits any one request. Beyond, it admits into debt what the shared bucket was last seen to hold, up
    to one maximal request; before the first answer that is taken to be all of it, so a fresh process refuses nobody who
    has quota. The next answer takes the debt over into the shared bucket. When that says it is empty, nothing is
    admitted beyond what is left of the lease and one request, until the bucket is out of debt itself.
    """

    __slots__ = (
        "_clock",
        "_demand",
        "_help_out",
        "asked_at_s",
        "credit",
        "demanded",
        "granted",
        "left",
        "limit",
        "max_debt",
        "refill_above",
        "reset_at_s",
        "short",
        "size",
        "spent",
        "urgent_above",
    )

    def __init__(
        self,
        limit: Limit,
        *,
        size: float,
        max_debt: float,
        clock: Callable[[], float],
        demand: "Callable[[Lease], None]",
        help_out: "Callable[[Lease, float], float]",
    ) -> None:
        self.limit = limit
        self.size = size
        self.max_debt = max_debt
        self._clock = clock
        self._demand = demand
        self._help_out = help_out
        self.granted = 0.0
        self.spent = 0.0
        self.left = float(limit.burst)
        self.credit = max_debt
        self.short = False
        self.reset_at_s = 0.0
        self.demanded = False
        self.asked_at_s = 0.0
        self.refill_above = -1.0
        self.urgent_above = max_debt / 2

    # --- under the lane lock ---------------------------------------------------------------------------------------
    def demand(self) -> None:
        """Ask the refill thread for more, at most once until it has answered, and again when it becomes urgent."""
        if self.short and self.spent <= self.granted:
            return  # there is nothing to be had yet, and the refill thread comes back by itself when there is
        if not self.demanded:
            self.asked_at_s = self._clock()
            self.demanded = True
            self._demand(self)
        elif self.spent > self.urgent_above:
            self._demand(self)

    def refuse(self, amount: int) -> Refusal | None:
        """Decide about a request that the lease does not cover."""
        if amount > self.limit.burst:
            return self._refusal(RefusalKind.EXCEEDS_BURST, 0.0)
        if self.spent < self.granted:
            return None
        if self.short:
            return self.exhaustion()
        missing = self.spent + amount - self.granted - self.credit
        if missing <= 0:
            return None
        # Redis is late with its answer: the local share steps in, as it does when Redis is away.
        lent = self._help_out(self, missing)
        self.spent -= lent
        return None if lent >= missing else self._refusal(RefusalKind.EXHAUSTED, self._wait_s(missing - lent))

    # --- any thread ------------------------------------------------------------------------------------------------
    def exhaustion(self) -> Refusal:
        return self._refusal(RefusalKind.EXHAUSTED, self._wait_s(self.spent - self.granted))

    def _wait_s(self, debt: float) -> float:
        """The announced moment, and later by what was admitted into debt since."""
        announced_s = max(0.0, self.reset_at_s - self._clock()) if self.short else 0.0
        refill_per_s = self.limit.refill_per_s
        return max(MIN_RESET_S, announced_s + (debt / refill_per_s if refill_per_s else 0.0))

    def _refusal(self, kind: RefusalKind, reset_s: float) -> Refusal:
        limit = self.limit
        used = min(limit.burst, max(0, round(limit.burst - self.left)))
        return Refusal(kind, limit.scope, limit.what, limit.limit, limit.burst, used, reset_s)

    # --- the refill thread -----------------------------------------------------------------------------------------
    def order(self) -> Order:
        """What pays the debt and brings the lease back to its full size."""
        balance = self.granted - self.spent
        return Order(self.limit, max(0.0, self.size - balance), max(0.0, -balance))

    def settle(self) -> float:
        """Bring the lease to nothing and return what it owed, less than zero where something was left."""
        owed = self.spent - self.granted
        self.granted += owed
        return owed

    def accept(self, want: float, grant: Grant, reset_at_s: float) -> None:
        """Book an answer. The order of the writes matters to the thread that charges beside this one."""
        self.granted += grant.granted
        self.left = grant.left
        self.credit = max(0.0, min(self.max_debt, grant.left))
        self.refill_above = self.granted - self.size / 2
        self.urgent_above = self.granted + self.credit / 2
        self.reset_at_s = reset_at_s
        # Grants are rounded to a millionth on their way through Redis.
        self.short = grant.granted < want - 0.001
        self.demanded = False


class Allowance:
    """All leases one caller draws on, of its tenant and of its key; without any limit it costs next to nothing."""

    __slots__ = ("_byte_leases", "_event_leases", "leases")

    def __init__(self, leases: Sequence[Lease]) -> None:
        self.leases = tuple(leases)
        self._byte_leases = tuple(lease for lease in leases if lease.limit.what is What.BYTES_PER_S)
        self._event_leases = tuple(lease for lease in leases if lease.limit.what is not What.BYTES_PER_S)

    def exhausted(self) -> Refusal | None:
        """Whether a request of any size would be refused now; for the moment before a body is read. Any thread."""
        for lease in self.leases:
            if lease.short and lease.spent >= lease.granted:
                return lease.exhaustion()
        return None

    def charge(self, events: int, size_bytes: int) -> Refusal | None:
        """Take `events` and `size_bytes` (decompressed) from every limit, or nothing at all and say which refused.

        Call it under the lane lock. Does not block. A request must not hold more events or bytes than the LeaseBook was
        told a request may.
        """
        if not self.leases:
            return None
        for lease in self._event_leases:
            if lease.spent + events > lease.granted and (refusal := lease.refuse(events)) is not None:
                return refusal
        for lease in self._byte_leases:
            if lease.spent + size_bytes > lease.granted and (refusal := lease.refuse(size_bytes)) is not None:
                return refusal
        for lease in self._event_leases:
            lease.spent += events
            if lease.spent > lease.refill_above:
                lease.demand()
        for lease in self._byte_leases:
            lease.spent += size_bytes
            if lease.spent > lease.refill_above:
                lease.demand()
        return None

    def give_back(self, events: int, size_bytes: int) -> None:
        """Undo a charge whose request was refused after all. Call it under the lane lock."""
        for lease in self._event_leases:
            lease.spent -= events
        for lease in self._byte_leases:
            lease.spent -= size_bytes
