"""The vocabulary of quotas: which limits a quota sets, and what a token bucket can and cannot give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.quotas import Limit, Quota, Scope, TokenBucket, What, limits_of


def test_an_unlimited_quota_sets_no_limit() -> None:
    limits = limits_of("acme", Scope.TENANT, "", Quota(requests_per_s_per_address=100, burst_events=5))

    assert limits == []


def test_a_rate_without_a_burst_has_a_burst_of_one_second() -> None:
    (limit,) = limits_of("acme", Scope.TENANT, "", Quota(events_per_s=300))

    assert (limit.limit, limit.burst) == (300, 300)


def test_a_days_quota_can_be_used_at_once() -> None:
    (limit,) = limits_of("acme", Scope.KEY, "k1", Quota(events_per_day=1_000))

    assert (limit.what, limit.burst, limit.refill_per_s) == (What.EVENTS_PER_DAY, 1_000, 0.0)


def test_redis_keys_carry_the_tenant_in_braces() -> None:
    quota = Quota(events_per_s=1, bytes_per_s=1, events_per_day=1)

    keys = [limit.redis_key for limit in limits_of("acme", Scope.TENANT, "", quota)]
    key_keys = [limit.redis_key for limit in limits_of("acme", Scope.KEY, "17", quota)]

    assert keys == [
        f"forebay:quota:{{acme}}:tenant:{what}" for what in ("events_per_s", "bytes_per_s", "events_per_day")
    ]
    assert key_keys[0] == "forebay:quota:{acme}:key:17:events_per_s"


@pytest.mark.parametrize(("wall_s", "wait_s"), [(0.0, 86_400.0), (86_399.5, 0.5), (20_000 * 86_400 + 60.0, 86_340.0)])
def test_a_days_window_ends_at_midnight_utc(wall_s: float, wait_s: float) -> None:
    limit = Limit("acme", Scope.TENANT, "", What.EVENTS_PER_DAY, 10, 10)

    assert limit.wait_s(3, wall_s) == pytest.approx(wait_s)


def test_a_bucket_does_not_fill_when_the_clock_goes_back() -> None:
    bucket = TokenBucket(10, 1.0, now_s=100.0)
    bucket.take(10, 100.0)

    early = bucket.take(10, 50.0)
    later = bucket.take(10, 103.0)

    assert (early, later) == (0.0, 3.0)


@given(
    capacity=st.integers(1, 1_000),
    refill_per_s=st.integers(0, 1_000),
    steps=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 2_000)), max_size=40),
)
def test_a_bucket_never_gives_more_than_its_capacity_and_what_flowed_in(
    capacity: int, refill_per_s: int, steps: list[tuple[float, float]]
) -> None:
    bucket = TokenBucket(capacity, refill_per_s, now_s=0.0)
    now_s, given_out = 0.0, 0.0

    for pause_s, want in steps:
        now_s += pause_s
        granted = bucket.take(want, now_s)
        given_out += granted

        assert 0.0 <= granted <= want
        assert given_out <= capacity + refill_per_s * now_s + 1e-6


def test_a_debt_is_granted_below_zero_and_paid_before_anything_else() -> None:
    bucket = TokenBucket(10, 1.0, now_s=0.0)

    granted = bucket.take(30, 0.0, owed=25)
    too_early = bucket.take(5, 14.0)
    paid = bucket.take(5, 17.0)

    assert (granted, too_early, paid) == (25, 0, 2)


@given(want=st.floats(0, 100), spare=st.floats(0, 1_000))
def test_a_bucket_takes_tokens_back_up_to_its_capacity(want: float, spare: float) -> None:
    bucket = TokenBucket(100, 0.0, now_s=0.0)
    bucket.take(want, 0.0)

    bucket.take(-spare, 0.0)

    assert bucket.tokens == pytest.approx(min(100, 100 - want + spare))
