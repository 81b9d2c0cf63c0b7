"""Quotas over a real Redis: the scripts, the bound over several processes, the 101st request, Redis away and back."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from uuid import uuid4

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenants.address_limits import AddressLimits
from tenants.buckets import Grant, Order, RedisBuckets
from tenants.lease_book import LeaseBook, lease_size
from tenants.quotas import Limit, Quota, Scope, What
from tests.services import RedisServer

PROCESSES = 3
LEASE_S = 0.25
BATCH = 100
BOLT = Limit("bolt", Scope.TENANT, "", What.EVENTS_PER_S, 5_000, 2_000)


def connect(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0))


def open_book(redis: Redis, *, process_count: int = 1) -> LeaseBook:
    return LeaseBook(
        RedisBuckets(redis, time.time),
        lease_s=LEASE_S,
        process_count=process_count,
        max_request_events=10_000,
        max_request_bytes=8 << 20,
    )


def eventually(condition: Callable[[], bool], deadline_s: float = 20.0) -> bool:
    until_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def tenant() -> str:
    """A name of this test's own, so that no test finds another's buckets."""
    return f"acme-{uuid4().hex[:12]}"


# --- the scripts -----------------------------------------------------------------------------------------------------
def test_a_shared_bucket_gives_its_burst_then_what_flows_in(redis: Redis, tenant: str) -> None:
    limit = Limit(tenant, Scope.TENANT, "", What.EVENTS_PER_S, 100, 1_000)
    buckets = RedisBuckets(redis, time.time)
    begun_s = time.monotonic()

    first, second = (grant_of(buckets, limit, 900), grant_of(buckets, limit, 900))
    took_s = time.monotonic() - begun_s

    assert first == Grant(900, 100)
    assert 100 <= second.granted <= 100 + 100 * took_s + 0.01
    assert second.left < 0.01


def test_tokens_handed_back_can_be_taken_again(redis: Redis, tenant: str) -> None:
    limit = Limit(tenant, Scope.TENANT, "", What.BYTES_PER_S, 1, 1_000)
    buckets = RedisBuckets(redis, time.time)
    grant_of(buckets, limit, 1_000)

    grant_of(buckets, limit, -400)

    assert 400 <= grant_of(buckets, limit, 1_000).granted < 405


@pytest.mark.parametrize("what", [What.EVENTS_PER_S, What.EVENTS_PER_DAY])
def test_a_debt_is_taken_over_by_the_shared_bucket(redis: Redis, tenant: str, what: What) -> None:
    limit = Limit(tenant, Scope.TENANT, "", what, 10, 10)
    buckets = RedisBuckets(redis, time.time)

    first = buckets.take([Order(limit, 40, 30)])[0]
    second = buckets.take([Order(limit, 5, 0)])[0]

    assert first == Grant(30, -20)
    assert second is not None
    assert second.granted == 0
    assert -20 <= second.left < -19


def test_a_day_has_its_own_counter_with_a_time_to_live(redis: Redis, tenant: str) -> None:
    limit = Limit(tenant, Scope.KEY, "17", What.EVENTS_PER_DAY, 100, 100)
    midnight_s = 20_000 * 86_400.0
    before, after = RedisBuckets(redis, lambda: midnight_s - 1), RedisBuckets(redis, lambda: midnight_s + 1)

    grants = [grant_of(before, limit, 80), grant_of(before, limit, 80)]
    next_day = grant_of(after, limit, 80)

    assert [grant.granted for grant in grants] == [80, 20]
    assert next_day.granted == 80
    for day in ("2024-10-03", "2024-10-04"):
        assert 86_400 < redis.ttl(f"forebay:quota:{{{tenant}}}:key:17:events_per_day:{day}") <= 90_000


def test_a_bucket_is_kept_no_longer_than_it_takes_to_fill(redis: Redis, tenant: str) -> None:
    limit = Limit(tenant, Scope.TENANT, "", What.EVENTS_PER_S, 10, 1_000)

    grant_of(RedisBuckets(redis, time.time), limit, 1)

    assert 100 <= redis.ttl(limit.redis_key) <= 160


def test_a_redis_that_forgot_the_scripts_is_taught_again(redis: Redis, tenant: str) -> None:
    limit = Limit(tenant, Scope.TENANT, "", What.EVENTS_PER_S, 10, 10)
    redis.script_flush()

    assert grant_of(RedisBuckets(redis, time.time), limit, 4).granted == 4


def test_a_broken_bucket_fails_alone(redis: Redis, tenant: str) -> None:
    broken = Limit(tenant, Scope.TENANT, "", What.EVENTS_PER_S, 10, 10)
    sound = Limit(tenant, Scope.TENANT, "", What.BYTES_PER_S, 10, 10)
    redis.set(broken.redis_key, "not a bucket")

    grants = RedisBuckets(redis, time.time).take([Order(broken, 1), Order(sound, 1)])

    assert grants[0] is None
    assert grants[1] is not None


def grant_of(buckets: RedisBuckets, limit: Limit, want: float) -> Grant:
    (grant,) = buckets.take([Order(limit, want)])
    assert grant is not None
    return grant


# --- the bound over several processes --------------------------------------------------------------------------------
def flood(
    redis_url: str, tenant: str, seconds: float, ready: Barrier, results: "Queue[tuple[int, float, float]]"
) -> None:
    """One process that sends as much as it can, and waits as little as it may."""
    with connect(redis_url) as redis:
        book = open_book(redis, process_count=PROCESSES)
        book.start()
        quota = Quota(events_per_s=BOLT.limit, burst_events=BOLT.burst)
        ready.wait(60)
        begun_s, admitted = time.monotonic(), 0
        while time.monotonic() < begun_s + seconds:
            refusal = book.allowance(tenant, quota, "k", Quota()).charge(BATCH, 0)
            admitted += BATCH if refusal is None else 0
            if refusal is not None:
                time.sleep(min(refusal.reset_s, 0.01))
        results.put((admitted, time.monotonic() - begun_s, book.local_tokens))
        book.stop()


def test_several_processes_overshoot_by_at_most_a_lease_and_a_maximal_request_each(redis_url: str, tenant: str) -> None:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(PROCESSES + 1), context.Queue()
    arguments = (redis_url, tenant, 2.0, ready, results)
    processes = [context.Process(target=flood, args=arguments, daemon=True) for _ in range(PROCESSES)]
    for process in processes:
        process.start()

    ready.wait(60)
    begun_s = time.monotonic()
    answers = [results.get(timeout=60) for _ in processes]
    took_s = time.monotonic() - begun_s
    for process in processes:
        process.join(30)

    admitted = sum(answer[0] for answer in answers)
    lent = sum(answer[2] for answer in answers)
    limit = BOLT.burst + BOLT.limit * took_s
    slack = PROCESSES * (lease_size(BOLT, lease_s=LEASE_S, process_count=PROCESSES) + BOLT.burst)
    print(f"admitted {admitted}, limit {limit:.0f}, bound {limit + slack:.0f}, from local shares {lent:.0f}")
    assert admitted <= limit + slack + lent
    assert admitted >= BOLT.limit * 2.0 * 0.8


# --- requests per client address -------------------------------------------------------------------------------------
def test_the_101st_request_of_a_second_is_refused(redis: Redis, tenant: str) -> None:
    limits = AddressLimits(redis, process_count=1, clock=lambda: 1_000.5)

    answers = [limits.admit(tenant, "k1", 100) for _ in range(150)]

    assert answers[:100] == [None] * 100
    assert None not in answers[100:]


def test_sixty_four_threads_pass_exactly_the_limit(redis: Redis, tenant: str) -> None:
    limits = AddressLimits(redis, process_count=1, clock=lambda: 1_000.5)

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(lambda _: limits.admit(tenant, "k1", 100), range(1_000)))

    assert answers.count(None) == 100


def test_three_processes_pass_at_most_the_limit_and_strand_at_most_a_lease_each(redis: Redis, tenant: str) -> None:
    processes = [AddressLimits(redis, process_count=3, clock=lambda: 1_000.5) for _ in range(3)]

    answers = [limits.admit(tenant, "k1", 100) for _ in range(200) for limits in processes]
    uneven = [processes[0].admit(tenant, "k2", 100) for _ in range(5)]
    uneven += [processes[1].admit(tenant, "k2", 100) for _ in range(200)]

    assert answers.count(None) == 100
    assert 100 - 10 <= uneven.count(None) <= 100


# --- Redis goes and comes --------------------------------------------------------------------------------------------
def test_an_address_costs_one_round_trip_for_a_tenth_of_its_limit(own_redis: RedisServer) -> None:
    with connect(own_redis.url) as redis:
        limits = AddressLimits(redis, process_count=1, clock=lambda: 1_000.5)

        for _ in range(500):
            limits.admit("192.0.2.1", "k1", 100)

        # Ten leases, and the eleventh call learns that the second is used up; both scripts are unknown at first.
        assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] <= 12


@contextmanager
def steady_acme(book: LeaseBook) -> Iterator[list[str]]:
    """Acme sends a fifth of its quota in single events, whatever happens; yields what was refused."""
    refusals: list[str] = []
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.005):
            refusal = book.allowance("acme", Quota(events_per_s=1_000, burst_events=200), "k", Quota()).charge(1, 240)
            if refusal is not None:
                refusals.append(repr(refusal))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield refusals
    finally:
        ended.set()
        sender.join()


@pytest.mark.parametrize("fault", ["killed", "hanging"])
def test_a_tenant_within_its_quota_notices_no_outage_of_redis(own_redis: RedisServer, fault: str) -> None:
    with connect(own_redis.url) as redis:
        book = open_book(redis, process_count=2)
        book.start()
        with steady_acme(book) as refusals:
            assert book.redis_available

            own_redis.kill() if fault == "killed" else own_redis.freeze()
            gone = eventually(lambda: not book.redis_available)
            lived_on_its_share = eventually(lambda: book.local_tokens > 50)
            own_redis.start() if fault == "killed" else own_redis.thaw()
            back = eventually(lambda: book.redis_available)
        book.stop()

    assert (gone, lived_on_its_share, back, refusals) == (True, True, True, [])


def test_a_process_that_starts_without_redis_works_and_finds_it_later(own_redis: RedisServer) -> None:
    own_redis.stop()
    with connect(own_redis.url) as redis:
        book = open_book(redis)
        book.start()
        with steady_acme(book) as refusals:
            gone = eventually(lambda: not book.redis_available)
            own_redis.start()
            back = eventually(lambda: book.redis_available)
        book.stop()

    assert (gone, back, refusals) == (True, True, [])


def test_an_address_is_counted_again_when_redis_is_back(own_redis: RedisServer) -> None:
    own_redis.stop()
    wall_s = [1_000.0]
    with connect(own_redis.url) as redis:
        limits = AddressLimits(redis, process_count=4, clock=lambda: wall_s[0])
        without = [limits.admit("192.0.2.1", "k1", 100) for _ in range(200)]
        own_redis.start()
        wall_s[0] += 2
        again = [limits.admit("192.0.2.1", "k1", 100) for _ in range(200)]

    assert (without.count(None), again.count(None)) == (25, 100)
    assert limits.redis_available


def test_a_hanging_redis_delays_an_address_once_and_refuses_nobody_within_the_share(own_redis: RedisServer) -> None:
    with connect(own_redis.url) as redis:
        limits = AddressLimits(redis, process_count=2, clock=lambda: 1_000.5)
        own_redis.freeze()
        begun_s = time.monotonic()

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda number: limits.admit(f"192.0.2.{number % 16}", "k1", 100), range(800)))
        took_s = time.monotonic() - begun_s

    assert answers.count(None) == 800
    assert took_s < 5  # sixteen time-outs one after the other would be 4 s, 800 would be 200 s
