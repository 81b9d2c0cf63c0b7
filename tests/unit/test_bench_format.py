"""The benchmark's names and numbers, which scripts compare from one release to the next."""

import json
from pathlib import Path

import pytest

from bench.latency import percentiles_ms
from bench.payloads import DUE, SOURCES, bodies, events
from bench.report import (
    COLUMNS,
    HEADINGS,
    Machine,
    Measurement,
    Report,
    comparison,
    from_json,
    ratio,
    summarise,
    to_json,
)
from bench.report import table as table_of
from bench.rows import RATIOS, ROWS

PERFORMANCE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
ROW_NAMES = [
    "raw_loop",
    "batch_500",
    "batch_100",
    "batch_100_ack",
    "null_view",
    "single",
    "single_ack",
    "events_2kb",
    "events_50kb",
    "single_paced",
    "to_consumer",
    "default_none",
    "reference_none",
    "default_lz4",
    "reference_lz4",
    "default_snappy",
    "reference_snappy",
    "default_gzip",
    "reference_gzip",
    "default_zstd",
    "reference_zstd",
]
MEASURED = [
    "events",
    "events_per_server_cpu_s",
    "events_per_wall_s",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "worker_resident_peak_mb",
    "server_resident_peak_mb",
    "wire_bytes_per_event",
    "pending_ratio",
    "client_late_p99_ms",
    "failed_requests",
    "missing_events",
]


def measured(rate: float, **others: float) -> Measurement:
    return Measurement(events=1000, events_per_server_cpu_s=rate, **others)


def report(*rows: tuple[str, list[Measurement]]) -> Report:
    summaries = [summarise(name, found) for name, found in rows]
    by_name = {row.name: row for row in summaries}
    ratios = {
        name: found
        for name, row, against in RATIOS
        if row in by_name and against in by_name and (found := ratio(by_name[row], by_name[against]))
    }
    return Report(
        started_at="2026-11-22T20:00:00+00:00",
        seconds_s=4.0,
        repeat=3,
        versions={"python": "3.11.7"},
        machine=Machine(cores=2, cpu="any", memory_mb=4096, load_average_1min=0.1),
        settings={"FOREBAY_THREADS": "8"},
        rows=summaries,
        ratios=ratios,
    )


def test_the_rows_keep_their_names_and_their_order() -> None:
    assert list(ROWS) == ROW_NAMES


def test_the_columns_keep_their_names_and_their_order() -> None:
    assert HEADINGS == ("row", "events/CPU-s", "spread", "events/s", "p50 ms", "p95 ms", "p99 ms", "MB", "remark")
    assert [heading for heading, _, _ in COLUMNS] == [
        name for name in HEADINGS if name not in ("row", "spread", "remark")
    ]


def test_the_json_keeps_its_names() -> None:
    rows = ("batch_500", [measured(150_000.0)]), ("raw_loop", [measured(600_000.0)])

    written = json.loads(to_json(report(*rows)))

    assert list(written) == [
        "started_at",
        "seconds_s",
        "repeat",
        "versions",
        "machine",
        "settings",
        "rows",
        "ratios",
        "schema",
    ]
    assert written["schema"] == "forebay-bench/1"
    assert list(written["machine"]) == ["cores", "cpu", "memory_mb", "load_average_1min"]
    assert list(written["rows"][0]) == ["name", "median", "events_per_server_cpu_s_spread_ratio", "repetitions"]
    assert list(written["rows"][0]["median"]) == MEASURED
    assert list(written["rows"][0]["repetitions"][0]) == MEASURED
    assert written["ratios"] == {
        "batch_500_to_raw_loop": {"median_ratio": 0.25, "lowest_ratio": 0.25, "highest_ratio": 0.25}
    }


def test_a_report_is_read_back_as_it_was_written() -> None:
    found = report(("single", [measured(9_000.0, latency_p99_ms=4.5)]))

    assert from_json(to_json(found)) == found


@pytest.mark.parametrize("text", [b"{}", b"no JSON", to_json(report()).replace(b"forebay-bench/1", b"forebay-bench/0")])
def test_what_is_no_report_of_this_schema_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="it is"):
        from_json(text)


def test_a_row_is_the_median_of_its_repetitions_and_tells_how_far_they_lie_apart() -> None:
    row = summarise(
        "single", [measured(80.0, latency_p99_ms=9.0), measured(120.0), measured(100.0, latency_p99_ms=5.0)]
    )

    assert row.median.events_per_server_cpu_s == 100.0
    assert row.median.latency_p99_ms == 7.0
    assert row.median.wire_bytes_per_event is None
    assert row.events_per_server_cpu_s_spread_ratio == pytest.approx(0.2)


def test_a_ratio_compares_neighbours_in_time() -> None:
    batches = summarise("batch_500", [measured(100.0), measured(50.0), measured(90.0)])
    ceiling = summarise("raw_loop", [measured(400.0), measured(200.0), measured(300.0)])

    found = ratio(batches, ceiling)

    assert found is not None
    assert [found.median_ratio, found.lowest_ratio, found.highest_ratio] == pytest.approx([0.25, 0.25, 0.3])


def test_the_table_has_a_line_for_each_row_and_ratio() -> None:
    found = report(
        ("raw_loop", [measured(600_000.0)] * 2),
        ("batch_500", [measured(150_000.0, latency_p99_ms=12.34, worker_resident_peak_mb=181.2)] * 2),
    )

    lines = table_of(found).splitlines()

    assert [line.split()[0] for line in lines] == ["row", "raw_loop", "batch_500", "batch_500_to_raw_loop"]
    assert lines[2].split() == ["batch_500", "150,000", "±0%", "-", "-", "-", "12.3", "181"]
    assert lines[3].split()[1] == "0.250"


def test_what_failed_or_went_missing_in_any_repetition_stands_in_the_table() -> None:
    found = report(("single", [measured(1.0), measured(1.0), measured(1.0, failed_requests=3, missing_events=7)]))

    line = table_of(found).splitlines()[1]

    assert "3 FAILED REQUESTS, 7 MISSING EVENTS" in line


def test_two_runs_are_compared_row_by_row() -> None:
    old = report(("single", [measured(8_000.0, latency_p99_ms=5.0)]), ("batch_100", [measured(1.0)]))
    new = report(("single", [measured(8_800.0, latency_p99_ms=4.0)]), ("batch_500", [measured(1.0)]))

    lines = [line.split() for line in comparison(new, old).splitlines()]

    assert lines[0][0] == "new/old"
    assert lines[1:] == [["single", "1.10", "-", "-", "-", "0.80", "-"]]


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles_ms(number / 1000 for number in range(100, 0, -1)) == [51.0, 96.0, 100.0]
    assert percentiles_ms([]) == [None, None, None]


@pytest.mark.parametrize("event_bytes", [240, 2_048, 51_200])
def test_events_have_about_the_wanted_size_and_are_the_same_in_every_run(event_bytes: int) -> None:
    made = events(20, event_bytes)

    assert made == events(20, event_bytes)
    assert len(set(made)) == 20
    assert sum(map(len, made)) / 20 == pytest.approx(event_bytes, rel=0.1)
    assert {json.loads(event)["source"] for event in made} <= set(SOURCES)


def test_bodies_differ_from_each_other() -> None:
    made = bodies(4, 10, 240)

    assert len(set(made)) == 4
    assert [len(json.loads(body)) for body in made] == [10] * 4


def test_an_event_of_an_open_loop_has_one_place_for_the_moment_it_was_due() -> None:
    (event,) = events(1, 240, due=True)

    assert json.loads(event.replace(DUE, b"1763842000123456789"))["correlationId"] == "1763842000123456789"
    assert event.count(DUE) == 1


def test_every_row_is_explained() -> None:
    text = PERFORMANCE.read_text()

    assert [name for name in ROWS if f"`{name}`" not in text] == []
