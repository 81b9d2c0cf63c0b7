"""What a worker says of its last minute: growth of running totals in a moving window, and a percentile of buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from ingest.dataplane.last_minute import Growth, LastMinute, percentile, percentile_ms
from tests.unit.tenants.quota_world import FakeClock

BOUNDS_S = (0.1, 0.5, 1.0)


class Figures:
    """The worker's metrics, in a registry of the test's own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.clock = FakeClock()
        self.produce = Histogram("p", "", ["topic"], buckets=BOUNDS_S, registry=registry)
        self.delivered = Counter("d", "", ["topic"], registry=registry)
        self.errors = Counter("e", "", ["fault", "code"], registry=registry)
        self.last_minute = LastMinute(
            self.clock, produce_seconds=self.produce, events_delivered=self.delivered, delivery_errors=self.errors
        )

    def acknowledge(self, times: int, seconds: float, topic: str = "logs") -> None:
        for _ in range(times):
            self.produce.labels(topic).observe(seconds)

    def p99_ms(self) -> float | None:
        p99_ms: float | None = self.last_minute.take()["produce_p99_ms"]
        return p99_ms


@pytest.fixture
def figures() -> Figures:
    made = Figures()
    made.last_minute.take()
    return made


def test_what_came_before_the_window_has_left_it() -> None:
    clock = FakeClock()
    growth = Growth(clock)
    growth.take({"sent": 100.0})

    clock.advance(30)
    within = growth.take({"sent": 107.0})
    clock.advance(60)
    after = growth.take({"sent": 107.0})

    assert (within, after) == ({"sent": 7.0}, {"sent": 0.0})


def test_a_total_that_appears_later_grew_from_nothing() -> None:
    growth = Growth(FakeClock())
    growth.take({})

    assert growth.take({"sent": 3.0}) == {"sent": 3.0}


@given(st.lists(st.tuples(st.floats(0, 7), st.integers(0, 50)), max_size=60))
def test_the_window_holds_the_last_minute_and_at_most_a_step_more(steps: list[tuple[float, int]]) -> None:
    clock, total, came = FakeClock(), 0, []
    growth = Growth(clock)
    growth.take({"sent": 0.0})

    for pause_s, events in steps:
        clock.advance(pause_s)
        total += events
        came.append((clock.now_s, events))
        grown = growth.take({"sent": float(total)})["sent"]

        assert grown >= sum(events for at_s, events in came if at_s > clock.now_s - 60)
        # Looked at as rarely as every 7 s, a step lasts up to 5 + 7 s.
        assert grown <= sum(events for at_s, events in came if at_s > clock.now_s - 60 - 12)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((100, 0, 0), 0.099),
        ((99, 1, 0), 0.1),
        ((98, 2, 0), 0.3),
        ((0, 0, 100), 0.5),
        ((0, 0, 0), None),
    ],
)
def test_a_percentile_lies_within_the_bucket_of_its_rank(counts: tuple[int, ...], expected: float | None) -> None:
    assert percentile((0.1, 0.5, float("inf")), counts, 0.99) == pytest.approx(expected)


def test_p99_is_beyond_a_bound_exactly_when_more_than_one_percent_is(figures: Figures) -> None:
    figures.acknowledge(990, 0.05)
    figures.acknowledge(10, 0.7)
    at_one_percent = figures.p99_ms()
    figures.acknowledge(2, 0.7)

    assert at_one_percent is not None
    assert at_one_percent <= 500
    assert (figures.p99_ms() or 0) > 500


def test_topics_count_together(figures: Figures) -> None:
    figures.acknowledge(50, 0.05, "logs")
    figures.acknowledge(50, 0.7, "audit")

    assert 500 < (figures.p99_ms() or 0) <= 1_000


def test_a_handful_of_acknowledgements_has_no_p99(figures: Figures) -> None:
    figures.acknowledge(19, 0.7)

    assert figures.p99_ms() is None


def test_a_slow_minute_is_forgotten_after_a_minute(figures: Figures) -> None:
    figures.acknowledge(100, 0.7)
    slow = figures.p99_ms()
    figures.clock.advance(61)
    figures.acknowledge(100, 0.05)
    figures.last_minute.take()
    figures.clock.advance(61)
    figures.acknowledge(100, 0.05)

    assert (slow or 0) > 500
    assert (figures.p99_ms() or 1_000) <= 100


def test_errors_of_a_topic_do_not_count_as_failed_deliveries(figures: Figures) -> None:
    figures.delivered.labels("logs").inc(1_000)
    figures.errors.labels("cluster", "_TIMED_OUT").inc(3)
    figures.errors.labels("record", "MSG_SIZE_TOO_LARGE").inc()
    figures.errors.labels("topic", "TOPIC_AUTHORIZATION_FAILED").inc(70)

    taken = figures.last_minute.take()

    assert (taken["delivered_last_minute_events"], taken["delivery_errors_last_minute"]) == (1_000, 4)


def test_events_and_refused_requests_of_the_last_minute_come_from_their_counters() -> None:
    registry = CollectorRegistry()
    clock = FakeClock()
    accepted = Counter("a", "", ["tenant"], registry=registry)
    rejected = Counter("r", "", ["code"], registry=registry)
    requests = Counter("h", "", ["route", "status"], registry=registry)
    last_minute = LastMinute(clock, events_accepted=accepted, events_rejected=rejected, http_requests=requests)
    accepted.labels("acme").inc(1_000)
    last_minute.take()

    clock.advance(10)
    accepted.labels("acme").inc(30)
    accepted.labels("bolt").inc(3)
    rejected.labels("invalid_event").inc(2)
    requests.labels("/api/logs", "429").inc(4)
    requests.labels("/api/logs", "202").inc(50)
    within = last_minute.take()
    clock.advance(60)
    after = last_minute.take()

    names = ("accepted_last_minute_events", "rejected_last_minute_events", "throttled_last_minute_requests")
    assert [within[name] for name in names] == [33, 2, 4]
    assert [after[name] for name in names] == [0, 0, 0]


def test_the_buckets_that_workers_are_summed_by_hold_the_last_minute_only(figures: Figures) -> None:
    figures.acknowledge(5, 0.05)
    figures.acknowledge(10, 0.3, topic="other")
    within = figures.last_minute.take()["produce_last_minute_up_to"]
    figures.clock.advance(70)
    figures.last_minute.take()
    figures.clock.advance(70)
    after = figures.last_minute.take()["produce_last_minute_up_to"]

    assert within == {"0.1": 5, "0.5": 15, "1.0": 15, "+Inf": 15}
    assert set(after.values()) == {0}


def test_a_percentile_of_too_few_observations_is_none() -> None:
    assert percentile_ms({}, 0.5) is None
    assert percentile_ms({"0.1": 19.0, "+Inf": 19.0}, 0.5) is None
    assert percentile_ms({"0.1": 20.0, "+Inf": 20.0}, 0.5) == pytest.approx(50)
