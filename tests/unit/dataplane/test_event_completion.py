"""What the decoder cannot check is checked on arrival, and what the sender left out is filled in."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.errors import EventRejected
from ingest.dataplane.event import complete, encode, rfc3339
from tests.unit.dataplane.world import LIMITS, NOW_WALL_MS, completed, event, stamp

ALIASES: dict[str, list[str | int]] = {
    "TRACE": ["TRACE", "trace", "Trace", "VERBOSE", "finest"],
    "DEBUG": ["DEBUG", "debug", "Debug", "FINE", 7, "7"],
    "INFO": ["INFO", "info", "Info", " info ", "INFORMATION", "Informational", "notice", 6, 5, "6", "5"],
    "WARN": ["WARN", "warn", "Warn", "WARNING", "warning", "Warning", 4, "4"],
    "ERROR": ["ERROR", "error", "err", "Error", "SEVERE", 3, "3"],
    "FATAL": ["FATAL", "Fatal", "CRITICAL", "critical", "crit", "ALERT", "EMERG", "emergency", "panic", 2, 1, 0, "0"],
}
DAY_MS = 86_400_000


def rejection(**fields: Any) -> EventRejected:
    with pytest.raises(EventRejected) as raised:
        completed(**fields)
    return raised.value


@pytest.mark.parametrize(
    ("given_level", "level"),
    [(given_level, level) for level, all_given in ALIASES.items() for given_level in all_given],
)
def test_a_level_is_known_by_all_its_names(given_level: str | int, level: str) -> None:
    assert completed(level=given_level).level == level


@pytest.mark.parametrize("level", ["LOUD", "", "8", 8, -1, 10**300, "x" * 100_000, "\uff29\uff2e\uff26\uff2f"])
def test_an_unknown_level_is_refused_with_the_known_ones(level: str | int) -> None:
    error = rejection(level=level)

    assert error.code == "unknown_level"
    assert "TRACE, DEBUG, INFO, WARN, ERROR, FATAL" in error.detail
    assert len(error.detail) < 200


def test_what_is_absent_is_filled_in() -> None:
    made = completed()

    assert msgspec.to_builtins(made) == {
        "source": "checkout",
        "level": "INFO",
        "message": "paid",
        "eventId": made.event_id,
        "timestamp": "2026-09-21T14:13:20.123Z",
        "hostname": "192.0.2.7",
        "correlationId": "c-1",
        "tenant": "acme",
        "receivedAt": "2026-09-21T14:13:20.123Z",
        "receivedBy": "node-1",
    }


def test_what_is_given_is_kept() -> None:
    fields: dict[str, Any] = {
        "event_id": "order-17",
        "timestamp": "2026-09-21T16:13:19.000000001+02:00",
        "hostname": "web-3",
        "correlation_id": "c-9",
        "metadata": {"order": 17, "share": 0.25, "none": None},
        "stack_trace": "at main()",
    }

    made = completed(**fields)

    assert {name: getattr(made, name) for name in fields} == fields


@pytest.mark.parametrize("value", ["bolt", 17, ["bolt"], {"name": "bolt"}, True])
def test_what_is_ours_is_never_taken_from_the_body(value: Any) -> None:
    made = completed(tenant=value, received_at=value, received_by=value)

    assert (made.tenant, made.received_at, made.received_by) == ("acme", "2026-09-21T14:13:20.123Z", "node-1")


def test_metadata_up_to_the_limit_is_taken_and_beyond_refused() -> None:
    three = {"a": 1, "b": 2, "c": 3}

    assert completed(metadata=three).metadata == three
    assert rejection(metadata=three | {"d": 4}).code == "too_many_metadata_entries"


# --- timestamps ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "2026-09-21T14:13:20Z",
        "2026-09-21t14:13:20z",
        "2026-09-21 14:13:20.5Z",
        "2026-09-21T14:13:20.123456789Z",
        "2026-09-21T14:13:20.000000001+00:00",
        "2026-09-21T19:43:20.1+05:30",
        "2026-09-21T06:13:20-08:00",
    ],
)
def test_rfc3339_is_kept_to_the_last_digit(text: str) -> None:
    assert completed(timestamp=text).timestamp == text


@pytest.mark.parametrize(
    "given_timestamp",
    [
        "yesterday",
        "",
        "2026-09-21",
        "2026-09-21T14:13:20",
        "2026-09-21T14:13Z",
        "2026-09-21T14:13:20,5Z",
        "2026-13-21T14:13:20Z",
        "2026-02-30T14:13:20Z",
        "2026-09-21T25:13:20Z",
        "2026-09-21T14:13:20+99:99",
        "0000-01-01T00:00:00Z",
        "\u0662\u0660\u0662\u0666-09-21T14:13:20Z",
        "1790000000123",
        " 2026-09-21T14:13:20Z",
        "2026-09-21T14:13:20Z\n",
        NOW_WALL_MS * 1_000,
        10**30,
        -(10**30),
        10**4000,
    ],
)
def test_what_is_no_timestamp_is_refused(given_timestamp: str | int) -> None:
    error = rejection(timestamp=given_timestamp)

    assert error.code == "invalid_timestamp"
    assert len(error.detail) < 200


@pytest.mark.parametrize(
    "given_timestamp",
    [
        0,
        -1,
        NOW_WALL_MS - 7 * DAY_MS - 1,
        NOW_WALL_MS + 600_001,
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-09-14T14:13:20.122Z",
        "2026-09-21T14:23:20.124Z",
    ],
)
def test_a_timestamp_far_off_is_refused(given_timestamp: str | int) -> None:
    assert rejection(timestamp=given_timestamp).code == "timestamp_out_of_range"


@pytest.mark.parametrize("offset_ms", [-7 * DAY_MS, -1, 0, 1, 600_000])
def test_a_timestamp_within_the_limits_is_taken(offset_ms: int) -> None:
    assert completed(timestamp=NOW_WALL_MS + offset_ms).timestamp == rfc3339(NOW_WALL_MS + offset_ms)


@given(st.integers(min_value=NOW_WALL_MS - 7 * DAY_MS, max_value=NOW_WALL_MS + 600_000))
def test_epoch_milliseconds_become_the_same_instant(wall_ms: int) -> None:
    text = completed(timestamp=wall_ms).timestamp

    assert isinstance(text, str)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    at = datetime.fromisoformat(text)
    assert round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000) == wall_ms


@given(st.text(max_size=40) | st.integers())
def test_no_timestamp_raises_anything_but_a_rejection(timestamp: str | int) -> None:
    made = event(timestamp=timestamp)

    try:
        complete(made, stamp(), LIMITS)
    except EventRejected as error:
        assert error.code in ("invalid_timestamp", "timestamp_out_of_range")  # noqa: PT017 - taking it is right too
    assert encode(made)
