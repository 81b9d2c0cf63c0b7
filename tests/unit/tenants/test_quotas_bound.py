"""What several processes may admit together, and what one may lose: properties over many orders of events."""

import sys
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenants.quotas import Quota
from tests.unit.tenants.quota_world import FakeClock, MemoryBuckets, open_book

NONE = Quota()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """The interpreter changes threads a thousand times as often, so that a lost update would show."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before_s)


@pytest.mark.usefixtures("hasty_threads")
def test_nothing_is_lost_between_the_thread_that_charges_and_the_one_that_refills() -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    book = open_book(buckets, clock, max_request_events=1_000)
    book.start()
    acme = book.allowance("acme", Quota(events_per_s=4_000, burst_events=1_000_000_000), "k", NONE)
    admitted = 0

    for number in range(100_000):
        events = 1 + number % 1_000
        if acme.charge(events, 0) is None:
            admitted += events
        if number % 7 == 0 and acme.charge(events, 0) is None:
            acme.give_back(events, 0)
    book.stop()

    assert buckets.round_trips > 10
    assert buckets.bucket(acme.leases[0].limit).tokens == 1_000_000_000 - admitted


def test_a_process_with_large_requests_and_one_with_small_ones_take_turns() -> None:
    turns = Random(0)
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    books = [open_book(buckets, clock, process_count=2) for _ in range(2)]
    large, small = (book.allowance("bolt", Quota(events_per_s=100), "k", NONE) for book in books)
    admitted = {100: 0, 1: 0}  # requests, by their number of events

    for _ in range(6_000):  # a minute of more than either could get
        for allowance, events in ((large, 100), (small, 1)):
            admitted[events] += allowance.charge(events, 0) is None
        clock.advance(0.01)
        for book in turns.sample(books, 2):  # who comes first when the bucket is out of debt is chance
            book.refill()

    assert 0.4 < admitted[1] / admitted[100] < 2.5
    assert admitted[1] + 100 * admitted[100] <= 100 + 6_000 + 2 * 100


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("charge"), st.integers(0, 2), st.integers(1, 120)),
        st.tuples(st.just("give_back"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("refill"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("advance_ms"), st.just(0), st.integers(0, 400)),
        st.tuples(st.just("redis_away"), st.just(0), st.integers(0, 1)),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(rate=st.integers(1, 1_000), burst=st.integers(1, 500), max_request=st.integers(1, 100), steps=STEPS)
def test_three_processes_never_overshoot_by_more_than_a_maximal_request_each(
    rate: int, burst: int, max_request: int, steps: list[tuple[str, int, int]]
) -> None:
    clock = FakeClock()
    buckets = MemoryBuckets(clock)
    books = [open_book(buckets, clock, process_count=3, max_request_events=max_request) for _ in range(3)]
    allowances = [book.allowance("bolt", Quota(events_per_s=rate, burst_events=burst), "k", NONE) for book in books]
    begun_s, admitted, last = clock(), 0, [0, 0, 0]

    for step, process, amount in steps:
        if step == "charge" and allowances[process].charge(min(amount, max_request), 0) is None:
            last[process] = min(amount, max_request)
            admitted += last[process]
        elif step == "give_back":
            allowances[process].give_back(last[process], 0)
            admitted -= last[process]
            last[process] = 0
        elif step == "refill":
            books[process].refill()
        elif step == "advance_ms":
            clock.advance(amount / 1_000)
        elif step == "redis_away":
            buckets.away = bool(amount)

        quota = burst + rate * (clock() - begun_s) + sum(book.local_tokens for book in books)
        assert admitted <= quota + 3 * min(burst, max_request) + 1e-6


@settings(max_examples=150, deadline=None)
@given(
    rate=st.integers(1, 5_000),
    burst=st.integers(1, 5_000),
    requests=st.lists(st.integers(1, 5_000), min_size=1, max_size=60),
)
def test_who_waits_as_long_as_told_is_always_admitted(rate: int, burst: int, requests: list[int]) -> None:
    clock = FakeClock()
    book = open_book(MemoryBuckets(clock), clock)
    bolt = book.allowance("bolt", Quota(events_per_s=rate, burst_events=burst), "k", NONE)

    for events in requests:
        book.refill()
        if (refusal := bolt.exhausted()) is not None:
            clock.advance(refusal.reset_s + 0.02)  # a round of the refill thread later
            book.refill()

        assert bolt.charge(min(events, burst), 0) is None
