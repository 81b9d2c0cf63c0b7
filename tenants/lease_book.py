"""The book of one process: which caller holds which leases, how large they are, and when an idle caller is forgotten.

The event path's only door to the quotas. Any thread asks for an allowance; charging it happens under the lane lock; the
refill thread, begun and ended here, does the rest.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from tenants.buckets import LocalShare, SharedBuckets
from tenants.leases import Allowance, Lease
from tenants.quotas import Limit, Quota, Scope, What, limits_of
from tenants.refill import Refill

# A caller not heard of for one to two of these hands its leases back and is forgotten.
IDLE_S: Final = 60.0
# A process takes a day's quota in hundredths of its part: few round trips, little stranded in idle processes.
DAY_LEASES: Final = 100


def lease_size(limit: Limit, *, lease_s: float, process_count: int) -> float:
    """What one process holds of a limit when it has just been topped up: at least one token, a day's in whole ones."""
    part = limit.burst / process_count
    if limit.is_daily:
        return float(max(1, int(part / DAY_LEASES)))
    return max(1.0, min(limit.refill_per_s * lease_s, part))


class LeaseBook:
    """Allowances for one of the `process_count` processes that share the buckets.

    No request may hold more than `max_request_events` and `max_request_bytes`. Over any time, all processes together
    admit at most what the shared bucket gives in it, and beyond that a lease and one maximal request for each process.
    """

    def __init__(
        self,
        buckets: SharedBuckets,
        *,
        lease_s: float,
        process_count: int,
        max_request_events: int,
        max_request_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        on_redis_available: Callable[[bool], None] = lambda available: None,
    ) -> None:
        self._lease_s = lease_s
        self._process_count = process_count
        self._max_request_events = max_request_events
        self._max_request_bytes = max_request_bytes
        self._clock = clock
        self._local = LocalShare(process_count, clock)
        self._refill = Refill(
            buckets,
            self._local,
            late_s=lease_s / 2,
            clock=clock,
            wall_clock=wall_clock,
            on_redis_available=on_redis_available,
            housekeeping=self._forget_the_idle,
            housekeeping_s=IDLE_S,
        )
        self._lock = threading.Lock()
        self._allowances: dict[tuple[str, str], tuple[Quota, Quota, Allowance]] = {}
        self._leases: dict[Limit, Lease] = {}
        self._spent_before: dict[Lease, float] = {}

    @property
    def redis_available(self) -> bool:
        return self._refill.redis_available

    @property
    def local_tokens(self) -> float:
        """Given from the local share so far; 0 as long as Redis has always answered in time."""
        return self._refill.local_tokens

    def allowance(self, tenant: str, tenant_quota: Quota, key_id: str, key_quota: Quota) -> Allowance:
        """The caller's allowance; a look-up unless a quota has changed. The leases of unchanged limits live on.

        Any thread. Ask with each request: an allowance kept for minutes may be forgotten here and count on its own.
        """
        known = self._allowances.get((tenant, key_id))
        if known is not None and known[0] == tenant_quota and known[1] == key_quota:
            return known[2]
        with self._lock:
            limits = limits_of(tenant, Scope.TENANT, "", tenant_quota) + limits_of(tenant, Scope.KEY, key_id, key_quota)
            allowance = Allowance([self._leases.get(limit) or self._open(limit) for limit in limits])
            self._allowances[tenant, key_id] = tenant_quota, key_quota, allowance
            return allowance

    def start(self) -> None:
        self._refill.start()

    def stop(self) -> None:
        """End the refill thread and hand unspent leases back. Call it when nobody charges any more."""
        self._refill.stop()
        with self._lock:
            self._refill.hand_back(list(self._leases.values()))
            self._allowances.clear()
            self._leases.clear()

    def refill(self) -> None:
        """One round of the refill thread, for a process that runs none."""
        self._refill.round()

    def _open(self, limit: Limit) -> Lease:
        max_request = self._max_request_bytes if limit.what is What.BYTES_PER_S else self._max_request_events
        lease = Lease(
            limit,
            size=lease_size(limit, lease_s=self._lease_s, process_count=self._process_count),
            max_debt=min(limit.burst, max_request),
            clock=self._clock,
            demand=self._refill.demand,
            help_out=self._refill.help_out,
        )
        self._leases[limit] = lease
        lease.demand()
        return lease

    def _forget_the_idle(self) -> None:
        """Forget callers that spent nothing since the last time and owe nothing. Runs in the refill thread."""
        with self._lock:
            for caller in [caller for caller, known in self._allowances.items() if self._is_idle(known[2])]:
                del self._allowances[caller]
            held = {lease for known in self._allowances.values() for lease in known[2].leases}
            gone = [
                lease for lease in self._leases.values() if lease not in held and not self._refill.is_waiting(lease)
            ]
            for lease in gone:
                del self._leases[lease.limit]
                self._local.forget(lease.limit)
            self._spent_before = {lease: lease.spent for lease in held}
        self._refill.hand_back(gone)

    def _is_idle(self, allowance: Allowance) -> bool:
        return all(
            self._spent_before.get(lease) == lease.spent <= lease.granted and not lease.short
            for lease in allowance.leases
        )
