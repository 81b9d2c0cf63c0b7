"""Leases on a clock moved by hand: who is admitted, who is refused until when, and what is never exceeded."""

from collections.abc import Callable, Sequence

import pytest

from tenants.buckets import Grant, LocalShare, Order
from tenants.leases import Allowance
from tenants.quotas import Quota, Refusal, RefusalKind, Scope, What, limits_of
from tests.unit.tenants.quota_world import FakeClock, MemoryBuckets, open_book

NONE = Quota()


def admitted_of(allowance: Allowance, requests: int, events: int = 1) -> int:
    return sum(allowance.charge(events, 0) is None for _ in range(requests))


def refused(refusal: Refusal | None) -> Refusal:
    assert refusal is not None
    return refusal


def test_a_caller_without_limits_is_never_refused_and_asks_nothing_of_redis() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock)
    allowance = book.allowance("acme", NONE, "k1", NONE)

    refusal = allowance.charge(10_000, 8 << 20)
    book.refill()

    assert (refusal, allowance.exhausted(), buckets.round_trips) == (None, None, 0)


def test_a_fresh_process_admits_before_redis_has_answered() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    allowance = book.allowance("acme", Quota(events_per_s=1_000), "k1", NONE)

    first = allowance.charge(1_000, 0)

    assert first is None
    assert allowance.exhausted() is None


def test_a_quota_used_up_is_refused_until_the_named_moment_and_then_admitted() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    bolt = book.allowance("bolt", Quota(events_per_s=10, burst_events=100), "k1", NONE)
    book.refill()
    bolt.charge(99, 0)
    book.refill()
    bolt.charge(3, 0)  # two more than there are
    book.refill()

    refusal = refused(bolt.exhausted())
    clock.advance(refusal.reset_s + 0.001)
    book.refill()

    assert (refusal.kind, refusal.scope, refusal.what) == (RefusalKind.EXHAUSTED, Scope.TENANT, What.EVENTS_PER_S)
    assert (refusal.limit, refusal.burst, refusal.used) == (10, 100, 100)
    assert refusal.reset_s == pytest.approx(0.3)
    assert bolt.exhausted() is None
    assert bolt.charge(1, 0) is None


def test_a_single_process_admits_the_burst_and_then_no_more_than_one_request_in_debt() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    bolt = book.allowance("bolt", Quota(events_per_s=1, burst_events=100), "k1", NONE)
    admitted = 0

    for _ in range(50):
        admitted += admitted_of(bolt, 1, events=7)
        book.refill()

    assert 100 <= admitted * 7 <= 100 + 7


def test_a_process_in_debt_admits_no_more_than_the_shared_bucket_was_seen_to_hold() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    quota = Quota(events_per_s=1, burst_events=100)
    other_book, book = open_book(buckets, clock), open_book(buckets, clock)
    other_book.allowance("bolt", quota, "k", NONE).charge(80, 0)
    other_book.refill()
    bolt = book.allowance("bolt", quota, "k", NONE)
    book.refill()

    within = (bolt.charge(10, 0), bolt.charge(5, 0))
    beyond = bolt.charge(20, 0)

    assert within == (None, None)
    assert refused(beyond).kind is RefusalKind.EXHAUSTED


def test_a_request_larger_than_the_burst_is_told_that_waiting_does_not_help() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    allowance = book.allowance("acme", NONE, "k1", Quota(bytes_per_s=1_000, burst_bytes=2_000))

    refusal = refused(allowance.charge(1, 2_001))
    within = allowance.charge(1, 2_000)

    assert (refusal.kind, refusal.scope, refusal.what) == (RefusalKind.EXCEEDS_BURST, Scope.KEY, What.BYTES_PER_S)
    assert (refusal.burst, refusal.reset_s) == (2_000, 0.0)
    assert within is None


def test_a_request_refused_by_one_limit_costs_nothing_of_the_others() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock)
    allowance = book.allowance("acme", Quota(events_per_s=100), "k1", Quota(bytes_per_s=10))

    refusals = [allowance.charge(10, 11) for _ in range(100)]
    admitted = admitted_of(allowance, 10, events=10)

    assert {refused(refusal).what for refusal in refusals} == {What.BYTES_PER_S}
    assert admitted == 10


def test_what_is_given_back_can_be_spent_again() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    allowance = book.allowance("acme", Quota(events_per_s=1, burst_events=50, bytes_per_s=1, burst_bytes=50), "k", NONE)
    book.refill()

    for _ in range(20):
        assert allowance.charge(50, 50) is None
        allowance.give_back(50, 50)
        book.refill()

    assert allowance.charge(50, 50) is None


def test_two_keys_of_a_tenant_share_its_limit_and_keep_their_own() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    tenant_quota = Quota(events_per_s=1, burst_events=100)
    one = book.allowance("acme", tenant_quota, "k1", Quota(events_per_day=1_000))
    two = book.allowance("acme", tenant_quota, "k2", Quota(events_per_day=1_000))

    one.charge(100, 0)
    two.charge(100, 0)
    book.refill()
    book.refill()

    assert refused(two.exhausted()).scope is Scope.TENANT
    assert len({id(lease) for lease in (*one.leases, *two.leases)}) == 3


def test_a_day_used_up_is_refused_until_midnight_utc() -> None:
    clock = FakeClock(86_400.0 * 20_000 + 80_000)
    book = open_book(MemoryBuckets(clock), clock)
    bolt = book.allowance("bolt", Quota(events_per_day=1_000), "k1", NONE)
    for _ in range(20):
        bolt.charge(100, 0)
        book.refill()

    refusal = refused(bolt.exhausted())
    clock.advance(6_400 + 1)
    book.refill()

    assert refusal.what is What.EVENTS_PER_DAY
    assert refusal.reset_s == pytest.approx(6_400)
    assert bolt.charge(100, 0) is None


def test_leases_of_unchanged_limits_live_on_when_another_limit_changes() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    before = book.allowance("acme", Quota(events_per_s=10, bytes_per_s=10), "k1", NONE)

    same = book.allowance("acme", Quota(events_per_s=10, bytes_per_s=10), "k1", NONE)
    after = book.allowance("acme", Quota(events_per_s=20, bytes_per_s=10), "k1", NONE)

    assert same is before
    assert after.leases[1] is before.leases[1]
    assert after.leases[0] is not before.leases[0]


def test_a_raised_quota_ends_a_refusal_at_once() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    bolt = book.allowance("bolt", Quota(events_per_s=1, burst_events=10), "k1", NONE)
    for _ in range(5):
        bolt.charge(10, 0)
        book.refill()

    raised = book.allowance("bolt", Quota(events_per_s=1_000), "k1", NONE)

    assert bolt.exhausted() is not None
    assert raised.exhausted() is None
    assert raised.charge(500, 0) is None


def test_all_leases_that_need_it_are_topped_up_in_one_round_trip() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock)

    for number in range(50):
        book.allowance(f"tenant-{number}", Quota(events_per_s=1_000, bytes_per_s=1_000), "k", NONE).charge(1, 1)
    book.refill()
    book.refill()

    assert (buckets.round_trips, len(buckets.orders)) == (1, 100)


def test_a_lease_is_a_quarter_second_of_the_rate_and_never_over_its_part_of_the_burst() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock, process_count=4)

    book.allowance("acme", Quota(events_per_s=1_000, burst_events=10_000), "k", NONE)
    book.allowance("bolt", Quota(events_per_s=1_000, burst_events=400), "k", NONE)
    book.refill()

    assert [order.want for order in buckets.orders] == [250.0, 100.0]


class SlowBuckets(MemoryBuckets):
    """Lets something happen while an answer is on its way."""

    meanwhile: Callable[[], object] | None = None

    def take(self, orders: Sequence[Order]) -> list[Grant | None]:
        grants = super().take(orders)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            meanwhile()
        return grants


def test_what_is_charged_during_a_round_trip_is_refilled_in_the_next() -> None:
    clock = FakeClock()
    buckets = SlowBuckets(clock)
    book = open_book(buckets, clock)
    acme = book.allowance("acme", Quota(events_per_s=1_000), "k", NONE)
    buckets.meanwhile = lambda: acme.charge(240, 0)

    book.refill()
    book.refill()

    assert [order.want for order in buckets.orders] == [250, 240]


def test_a_local_share_starts_with_its_part_of_what_was_last_seen() -> None:
    clock = FakeClock()
    (limit,) = limits_of("acme", Scope.TENANT, "", Quota(events_per_s=400))
    share = LocalShare(4, clock)

    first = share.take(Order(limit, 100), left=40)
    clock.advance(0.5)
    later = share.take(Order(limit, 100), left=400)

    assert (first.granted, later.granted) == (10, 50)


def test_without_redis_each_process_gives_its_share_and_no_tenant_is_refused_for_it() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    buckets.away = True
    book = open_book(buckets, clock, process_count=4)
    acme = book.allowance("acme", Quota(events_per_s=400), "k", NONE)
    admitted = 0

    for _ in range(1_000):  # 100 events a second, a quarter of the quota, for ten seconds
        admitted += admitted_of(acme, 1)
        clock.advance(0.01)
        book.refill()

    assert admitted == 1_000
    assert not book.redis_available
    assert book.local_tokens >= 1_000


def test_without_redis_a_flood_gets_the_share_of_one_process() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    buckets.away = True
    book = open_book(buckets, clock, process_count=4)
    bolt = book.allowance("bolt", Quota(events_per_s=400), "k", NONE)
    admitted = 0

    for _ in range(1_000):
        admitted += admitted_of(bolt, 4)
        clock.advance(0.01)
        book.refill()

    assert 1_000 <= admitted <= 100 + 1_000 + 400


def test_redis_is_tried_again_at_intervals_and_taken_up_when_it_is_back() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock)
    acme = book.allowance("acme", Quota(events_per_s=100), "k", NONE)
    buckets.away = True
    for _ in range(200):
        acme.charge(1, 0)
        book.refill()
        clock.advance(0.01)
    tries_while_away = buckets.round_trips

    buckets.away = False
    clock.advance(1.0)
    book.refill()

    assert tries_while_away <= 3
    assert book.redis_available


def test_a_late_answer_of_redis_costs_no_tenant_a_refusal() -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    acme = book.allowance("acme", Quota(events_per_s=1_000, burst_events=100), "k", NONE)
    acme.charge(100, 0)

    at_once = acme.charge(50, 0)
    clock.advance(0.2)
    when_late = acme.charge(50, 0)

    assert at_once is not None
    assert when_late is None
    assert book.local_tokens == 50


def test_unspent_leases_go_back_when_a_process_ends() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock)
    acme = book.allowance("acme", Quota(events_per_s=400), "k", NONE)
    book.refill()
    acme.charge(30, 0)

    book.stop()

    assert buckets.bucket(acme.leases[0].limit).tokens == 370


def test_what_a_process_owes_when_it_ends_is_not_forgotten() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock)
    acme = book.allowance("acme", Quota(events_per_s=400), "k", NONE)
    acme.charge(300, 0)

    book.stop()

    assert buckets.bucket(acme.leases[0].limit).tokens == 100


def test_a_caller_idle_for_long_is_forgotten_and_hands_its_lease_back() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock)
    quota = Quota(events_per_day=1_000_000)
    acme = book.allowance("acme", quota, "k", NONE)
    acme.charge(10, 0)

    for _ in range(4):
        book.refill()
        clock.advance(60.0)

    assert buckets.bucket(acme.leases[0].limit).tokens == 1_000_000 - 10
    assert book.allowance("acme", quota, "k", NONE) is not acme


def test_a_caller_in_debt_is_not_forgotten_with_its_debt() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    quota = Quota(events_per_s=1, burst_events=1_000)
    other_book, book = open_book(buckets, clock), open_book(buckets, clock)
    other_book.allowance("bolt", quota, "k", NONE).charge(1_000, 0)
    bolt = book.allowance("bolt", quota, "k", NONE)
    bolt.charge(1_000, 0)
    other_book.refill()

    for _ in range(4):
        book.refill()
        clock.advance(60.0)

    assert book.allowance("bolt", quota, "k", NONE) is bolt
    assert bolt.exhausted() is not None
