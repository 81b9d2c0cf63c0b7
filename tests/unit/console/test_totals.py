"""All workers summed: counts, and percentiles of all acknowledgements instead of means of percentiles."""

import pytest

from ingest.console.live import totals_of
from ingest.dataplane.last_minute import percentile_ms
from tests.unit.console.breaker_world import worker

# Observations up to each bound in seconds, as a heartbeat has them.
FAST = {"0.1": 100.0, "0.5": 100.0, "+Inf": 100.0}
SLOW = {"0.1": 0.0, "0.5": 100.0, "+Inf": 100.0}


def test_counts_of_two_workers_are_summed() -> None:
    totals = totals_of(
        [
            worker(1, accepted_last_minute_events=600, delivered_last_minute_events=500, journal_pending_events=7),
            worker(
                2, accepted_last_minute_events=60, delivery_errors_last_minute=500, throttled_last_minute_requests=3
            ),
        ]
    )

    assert (totals.workers, totals.accepted_events, totals.delivered_events) == (2, 660, 500)
    assert (totals.pending_events, totals.throttled_requests) == (7, 3)
    assert totals.error_ratio == 0.5


def test_percentiles_are_those_of_all_acknowledgements() -> None:
    totals = totals_of([worker(1, produce_last_minute_up_to=FAST), worker(2, produce_last_minute_up_to=SLOW)])

    merged = {"0.1": 100.0, "0.5": 200.0, "+Inf": 200.0}
    assert totals.p50_ms == percentile_ms(merged, 0.50) == pytest.approx(100)
    assert totals.p95_ms == percentile_ms(merged, 0.95)
    assert totals.p99_ms == percentile_ms(merged, 0.99)
    mean_of_p50s = (percentile_ms(FAST, 0.5) + percentile_ms(SLOW, 0.5)) / 2  # type: ignore[operator]  # there are enough
    assert totals.p50_ms != pytest.approx(mean_of_p50s)


def test_two_workers_have_a_latency_where_each_alone_has_too_few_acknowledgements() -> None:
    few = {"0.1": 15.0, "0.5": 15.0, "+Inf": 15.0}

    alone, together = (
        totals_of([worker(pid, produce_last_minute_up_to=few) for pid in pids]) for pids in ([1], [1, 2])
    )

    assert alone.p99_ms is None
    assert together.p99_ms == pytest.approx(99)


def test_of_utilisations_the_fullest_is_told() -> None:
    totals = totals_of(
        [
            worker(1, journal_used_bytes=20, journal_max_bytes=100, queue_utilisation_ratio=0.6),
            worker(2, journal_used_bytes=30, journal_max_bytes=50, queue_utilisation_ratio=0.1),
            worker(3, journal_max_bytes=0),  # of an older release
        ]
    )

    assert (totals.journal_ratio, totals.queue_ratio) == (0.6, 0.6)


def test_nobody_heard_is_nothing_and_no_error() -> None:
    totals = totals_of([])

    assert (totals.workers, totals.p50_ms, totals.error_ratio, totals.journal_ratio) == (0, None, 0, 0)
