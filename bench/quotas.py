"""What a quota costs on the event path: nanoseconds per charge and per look at `exhausted`, for 0 to 6 limits.

Run `python -m bench.quotas`. One thread charges while the refill thread serves it from buckets in this process, so that
the figures hold the refill thread's share of the interpreter but no network.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from tenants.buckets import Grant, Order
from tenants.lease_book import LeaseBook
from tenants.leases import Allowance
from tenants.quotas import Quota

CHARGES: Final = 200_000
RUNS: Final = 5
RATES: Final = Quota(events_per_s=1_000_000_000, bytes_per_s=1_000_000_000_000)
RATES_AND_DAY: Final = Quota(
    events_per_s=1_000_000_000, bytes_per_s=1_000_000_000_000, events_per_day=1_000_000_000_000
)
CASES: Final = ((Quota(), Quota()), (RATES, Quota()), (RATES, RATES), (RATES_AND_DAY, RATES_AND_DAY))


class FullBuckets:
    """Shared buckets that always have what is wanted."""

    def take(self, orders: Sequence[Order]) -> list[Grant | None]:
        return [Grant(order.want, order.limit.burst) for order in orders]

    def is_there(self) -> bool:
        return True


def best_ns(call: Callable[[], object]) -> float:
    """The best of a few runs, which a busy machine disturbs least."""
    took_ns = []
    for _ in range(RUNS):
        begun_ns = time.perf_counter_ns()
        for _ in range(CHARGES):
            call()
        took_ns.append((time.perf_counter_ns() - begun_ns) / CHARGES)
    return min(took_ns)


def measure(tenant_quota: Quota, key_quota: Quota) -> tuple[int, float, float, float]:
    book = LeaseBook(FullBuckets(), lease_s=0.25, process_count=1, max_request_events=10_000, max_request_bytes=8 << 20)
    book.start()
    allowance: Allowance = book.allowance("acme", tenant_quota, "k1", key_quota)
    charge_ns = best_ns(lambda: allowance.charge(500, 120_000))
    exhausted_ns = best_ns(allowance.exhausted)
    allowance_ns = best_ns(lambda: book.allowance("acme", tenant_quota, "k1", key_quota))
    book.stop()
    return len(allowance.leases), charge_ns, exhausted_ns, allowance_ns


def main() -> None:
    print(f"{'limits':>6} {'charge ns':>10} {'exhausted ns':>13} {'allowance ns':>13}")
    for tenant_quota, key_quota in CASES:
        limits, charge_ns, exhausted_ns, allowance_ns = measure(tenant_quota, key_quota)
        print(f"{limits:>6} {charge_ns:>10.0f} {exhausted_ns:>13.0f} {allowance_ns:>13.0f}")


if __name__ == "__main__":
    main()
