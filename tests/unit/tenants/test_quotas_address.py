"""Requests per client address on a machine without Redis: each process's share, no error, bounded memory."""

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenants.address_limits import AddressLimits
from tenants.quotas import Refusal
from tests.unit.tenants.quota_world import FakeClock


@pytest.fixture
def absent_redis() -> Iterator[Redis]:
    """A client of port 1, where nothing listens."""
    with Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0)) as redis:
        yield redis


def count_admitted(limits: AddressLimits, requests: int, address: str = "192.0.2.1", limit: int = 100) -> int:
    return sum(limits.admit(address, "k1", limit) is None for _ in range(requests))


def test_a_limit_of_zero_is_off_and_remembers_nobody(absent_redis: Redis) -> None:
    limits = AddressLimits(absent_redis, process_count=1, clock=FakeClock())

    admitted = count_admitted(limits, 1_000, limit=0)

    assert admitted == 1_000
    assert limits.redis_available


def test_without_redis_the_share_of_the_process_is_admitted_in_each_second(absent_redis: Redis) -> None:
    clock = FakeClock()
    limits = AddressLimits(absent_redis, process_count=4, clock=clock)

    first = count_admitted(limits, 200)
    clock.advance(1.0)
    second = count_admitted(limits, 200)

    assert (first, second) == (25, 25)
    assert not limits.redis_available


def test_without_redis_every_address_may_send_something(absent_redis: Redis) -> None:
    limits = AddressLimits(absent_redis, process_count=64, clock=FakeClock())

    assert count_admitted(limits, 10, limit=10) == 1


def test_the_refusal_names_the_end_of_the_second(absent_redis: Redis) -> None:
    clock = FakeClock(1_000.75)
    limits = AddressLimits(absent_redis, process_count=1, clock=clock)
    count_admitted(limits, 10, limit=10)

    refusal = limits.admit("192.0.2.1", "k1", 10)

    assert isinstance(refusal, Refusal)
    assert (refusal.scope, refusal.what, refusal.limit, refusal.used) == ("address", "requests_per_s", 10, 10)
    assert refusal.reset_s == pytest.approx(0.25)


def test_a_clock_that_is_set_back_locks_nobody_out(absent_redis: Redis) -> None:
    clock = FakeClock()
    limits = AddressLimits(absent_redis, process_count=1, clock=clock)
    count_admitted(limits, 200)

    clock.advance(-3_600)

    assert count_admitted(limits, 200) == 100


def test_an_address_has_a_count_for_each_key_and_one_without(absent_redis: Redis) -> None:
    limits = AddressLimits(absent_redis, process_count=1, clock=FakeClock())

    admitted = [sum(limits.admit("192.0.2.1", key_id, 10) is None for _ in range(20)) for key_id in ("k1", "k2", None)]

    assert admitted == [10, 10, 10]


def test_a_flood_of_addresses_is_forgotten_as_it_comes(absent_redis: Redis) -> None:
    limits = AddressLimits(absent_redis, process_count=1, clock=FakeClock(), max_addresses=100)

    for number in range(1_000):
        limits.admit(f"2001:db8::{number:x}", None, 100)

    assert limits.remembered <= 100


def test_redis_going_away_is_reported_once(absent_redis: Redis) -> None:
    reports: list[bool] = []
    limits = AddressLimits(absent_redis, process_count=1, clock=FakeClock(), on_redis_available=reports.append)

    for number in range(20):
        limits.admit(f"192.0.2.{number}", None, 100)

    assert reports == [False]
