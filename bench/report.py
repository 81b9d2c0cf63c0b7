"""What a run of the benchmark found, as JSON that scripts read and as the table that people read. Pure.

The JSON's names and units are stable: `SCHEMA` changes when one of them does.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

SCHEMA: Final = "forebay-bench/1"


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One repetition of a row, or the median of all. None is what the row does not have."""

    events: float
    events_per_server_cpu_s: float | None = None
    events_per_wall_s: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    worker_resident_peak_mb: float | None = None
    server_resident_peak_mb: float | None = None
    wire_bytes_per_event: float | None = None
    pending_ratio: float | None = None
    client_late_p99_ms: float | None = None
    failed_requests: float = 0
    missing_events: float = 0


class RowReport(msgspec.Struct, frozen=True):
    """A row: its median, how far the repetitions lie apart, and they themselves in the order they were taken."""

    name: str
    median: Measurement
    events_per_server_cpu_s_spread_ratio: float
    repetitions: list[Measurement]


class Ratio(msgspec.Struct, frozen=True):
    """Events per server CPU-second of one row by those of another, repetition by repetition."""

    median_ratio: float
    lowest_ratio: float
    highest_ratio: float


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cores: int
    cpu: str
    memory_mb: float
    load_average_1min: float


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    started_at: str
    seconds_s: float
    repeat: int
    versions: dict[str, str]
    machine: Machine
    settings: dict[str, str]
    rows: list[RowReport]
    ratios: dict[str, Ratio]
    schema: str = SCHEMA


# Heading, the measurement's field, decimals.
COLUMNS: Final[tuple[tuple[str, str, int], ...]] = (
    ("events/CPU-s", "events_per_server_cpu_s", 0),
    ("events/s", "events_per_wall_s", 0),
    ("p50 ms", "latency_p50_ms", 1),
    ("p95 ms", "latency_p95_ms", 1),
    ("p99 ms", "latency_p99_ms", 1),
    ("MB", "worker_resident_peak_mb", 0),
)
HEADINGS: Final = ("row", "events/CPU-s", "spread", "events/s", "p50 ms", "p95 ms", "p99 ms", "MB", "remark")


def summarise(name: str, repetitions: Sequence[Measurement]) -> RowReport:
    """The median of each number by itself; the spread is half the way from lowest to highest, by the median."""
    medians = {field: _median(getattr(one, field) for one in repetitions) for field in Measurement.__struct_fields__}
    median = msgspec.convert(medians, Measurement)
    rates = [rate for one in repetitions if (rate := one.events_per_server_cpu_s) is not None]
    spread = (max(rates) - min(rates)) / 2 / statistics.median(rates) if rates else 0.0
    return RowReport(name, median, spread, list(repetitions))


def ratio(row: RowReport, against: RowReport) -> Ratio | None:
    """Neighbours in time are compared with each other, so that a slow minute of the machine hurts both."""
    pairs = zip(row.repetitions, against.repetitions, strict=False)
    found = [
        one.events_per_server_cpu_s / other.events_per_server_cpu_s
        for one, other in pairs
        if one.events_per_server_cpu_s and other.events_per_server_cpu_s
    ]
    return Ratio(statistics.median(found), min(found), max(found)) if found else None


def to_json(report: Report) -> bytes:
    """Indented, with a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def from_json(text: bytes) -> Report:
    """Raises ValueError for anything but a report of this schema."""
    try:
        report = msgspec.json.decode(text, type=Report)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no report of a benchmark: {error}") from error
    if report.schema != SCHEMA:
        raise ValueError(f"it is of schema {report.schema}, not {SCHEMA}")
    return report


def table(report: Report) -> str:
    """The rows, then the ratios."""
    lines = _aligned([HEADINGS, *(_cells(row) for row in report.rows)])
    ratios = [f"{name} {_ratio_text(found)}" for name, found in report.ratios.items()]
    return "\n".join([*lines, *ratios])


def comparison(new: Report, old: Report) -> str:
    """New by old for each column, for the rows that both have: 1.10 is a tenth more."""
    before = {row.name: row.median for row in old.rows}
    cells = [
        (row.name, *(_quotient(row.median, before[row.name], field) for _, field, _ in COLUMNS))
        for row in new.rows
        if row.name in before
    ]
    return "\n".join(_aligned([("new/old", *(heading for heading, _, _ in COLUMNS)), *cells]))


def _cells(row: RowReport) -> tuple[str, ...]:
    rate, *others = (_number(getattr(row.median, field), decimals) for _, field, decimals in COLUMNS)
    spread = f"±{row.events_per_server_cpu_s_spread_ratio:.0%}" if len(row.repetitions) > 1 and rate != "-" else "-"
    return (row.name, rate, spread, *others, _remark(row))


def _remark(row: RowReport) -> str:
    found, parts = row.median, []
    if found.wire_bytes_per_event is not None:
        parts.append(f"{found.wire_bytes_per_event:.0f} bytes/event sent")
    if found.pending_ratio is not None:
        parts.append(f"{found.pending_ratio:.1%} Pending")
    if found.client_late_p99_ms is not None:
        parts.append(f"client late p99 {found.client_late_p99_ms:.1f} ms")
    for what in ("failed_requests", "missing_events"):
        worst = max(getattr(one, what) for one in row.repetitions)
        parts += [f"{worst:.0f} {what.replace('_', ' ').upper()}"] if worst else []
    return ", ".join(parts)


def _ratio_text(found: Ratio) -> str:
    return f"{found.median_ratio:.3f} ({found.lowest_ratio:.3f} to {found.highest_ratio:.3f})"


def _quotient(new: Measurement, old: Measurement, field: str) -> str:
    after, before = getattr(new, field), getattr(old, field)
    return f"{after / before:.2f}" if after is not None and before else "-"


def _median(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, numbers to the right, a remark to the left again."""
    is_text = [heading in ("row", "remark", "new/old") for heading in rows[0]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(row, widths, is_text, strict=True)
        ).rstrip()
        for row in rows
    ]
