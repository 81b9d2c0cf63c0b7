"""Lines to events: level, time and fields of each format, an id that is a UUID, and nothing that Forebay refuses."""

import json
import uuid
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_client.tail.events import EventEncoder, Origin, event_id, file_id, without_timestamp
from forebay_client.tail.formats import parser_of
from forebay_client.tail.levels import find_level, known_level
from forebay_client.tail.lines import Note
from forebay_client.tail.timestamps import Timestamps
from ingest.dataplane.event import EventLimits, LogEvent, Stamp, complete

NOW_WALL_S = 1_893_499_200.0  # 2030-01-01T12:00:00Z
ORIGIN = Origin(file_id(1, 2, b"first line\n", 0), "/var/log/app.log", "/var/log/app.log", "web-1")
LIMITS = EventLimits(1 << 20, 1 << 20, 10_000, 64, 7 * 86_400, 600)
STAMP = Stamp("acme", "10.0.0.1", "correlation", "node-1", int(NOW_WALL_S * 1000), "2030-01-01T12:00:00.000Z", str)


def encoder(name: str = "plain", pattern: str = "", form: str = "", level: str = "INFO") -> EventEncoder:
    timestamps = Timestamps(zone=UTC, wall_s=lambda: NOW_WALL_S, form=form)
    return EventEncoder(parser_of(name, pattern), timestamps, default_level=level)


def event_of(
    text: str, name: str = "plain", *, pattern: str = "", form: str = "", level: str = "INFO"
) -> dict[str, Any]:
    """As the server decodes it, checked by the server's own rules."""
    encoded = encoder(name, pattern, form, level).encode([(17, 99, text, None)], ORIGIN)[0]
    complete(msgspec.json.decode(encoded, type=LogEvent), STAMP, LIMITS)
    event: dict[str, Any] = json.loads(encoded)
    return event


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2030-01-01 12:00:00,000 ERROR order failed", "ERROR"),
        ("[WARNING] disk nearly full", "WARNING"),
        ("2030/01/01 12:00:00 [error] 17#0: upstream gone", "ERROR"),
        ("[Tue Jan 01 12:00:00 2030] [core:warn] [pid 17] busy", "WARN"),
        ('ts=1 level=debug msg="x"', "DEBUG"),
        ("<notice> listening", "NOTICE"),
        ("FATALITY is no level", None),
        ("no error happened, for your information", None),
        ("TERROR", None),
        ("", None),
    ],
)
def test_the_level_is_found_where_formats_have_it(text: str, level: str | None) -> None:
    assert find_level(text) == level


@pytest.mark.parametrize(("value", "level"), [(30, "INFO"), ("warn", "WARN"), (3, "3"), ("loud", None), (True, None)])
def test_a_field_that_is_a_level_is_taken_as_forebay_takes_it(value: object, level: str | None) -> None:
    assert known_level(value) == level


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("2030-01-01T12:00:00.123456Z INFO", "2030-01-01T12:00:00.123456Z"),
        ("2030-01-01 12:00:00,123 INFO", "2030-01-01T12:00:00.123Z"),
        ("[2030-01-01 14:00:00+0200] x", "2030-01-01T14:00:00+02:00"),
        ("2030-01-01T12:00:00 INFO", "2030-01-01T12:00:00Z"),
        ("2030-01-01T12:20:00Z from the future", None),
        ("2029-12-01T12:00:00Z long ago", None),
        ("2030-13-45T99:00:00Z no date", None),
        ("12:00:00 no day", None),
    ],
)
def test_a_line_that_begins_with_a_time_that_forebay_takes_happened_then(text: str, timestamp: str | None) -> None:
    assert event_of(text).get("timestamp") == timestamp


@pytest.mark.parametrize(
    ("value", "timestamp"),
    [
        (1_893_499_200, "2030-01-01T12:00:00.000Z"),
        (1_893_499_200_123, "2030-01-01T12:00:00.123Z"),
        ("1893499200.5", "2030-01-01T12:00:00.500Z"),
        ("2030-01-01T12:00:00Z", "2030-01-01T12:00:00Z"),
        (1e300, None),
        ("nan", None),
        ("yesterday", None),
        (True, None),
    ],
)
def test_a_time_of_json_may_be_text_seconds_or_milliseconds(value: object, timestamp: str | None) -> None:
    event = event_of(json.dumps({"msg": "x", "ts": value}), "json")

    assert event.get("timestamp") == timestamp
    if timestamp is None:
        assert "timestamp" in event["metadata"]


def test_a_time_without_a_year_is_the_last_that_was_so() -> None:
    pattern = r"^(?P<timestamp>\w{3} +\d+ [\d:]+) (?P<message>.*)"

    january = event_of("Jan  1 11:59:59 started", "pattern", pattern=pattern, form="%b %d %H:%M:%S")
    december = event_of("Dec 31 11:59:59 started", "pattern", pattern=pattern, form="%b %d %H:%M:%S")

    assert (january["timestamp"], january["message"]) == ("2030-01-01T11:59:59.000Z", "started")
    assert december["timestamp"] == "2029-12-31T11:59:59.000Z"


def test_fields_of_a_json_line_become_those_of_the_event_and_the_rest_metadata() -> None:
    line = {
        "@timestamp": "2030-01-01T11:00:00Z",
        "severity": "warning",
        "msg": "order failed",
        "order": 17,
        "nested": {"a": [1]},
        "trace_id": "abc",
        "stack": "Traceback",
        "ratio": float("nan"),
        "huge": 1 << 80,
    }

    event = event_of(json.dumps(line), "json")

    assert (event["level"], event["message"], event["timestamp"]) == ("WARNING", "order failed", "2030-01-01T11:00:00Z")
    assert (event["stackTrace"], event["correlationId"]) == ("Traceback", "abc")
    assert event["metadata"]["order"] == 17
    assert event["metadata"]["nested"] == '{"a":[1]}'
    assert event["metadata"]["ratio"] == "nan"
    assert event["metadata"]["huge"] == str(1 << 80)
    assert (event["metadata"]["path"], event["metadata"]["offset"]) == ("/var/log/app.log", 17)


def test_more_fields_than_forebay_takes_are_kept_in_one() -> None:
    event = event_of(json.dumps({"msg": "x", **{f"field{number}": number for number in range(200)}}), "json")

    assert len(event["metadata"]) <= 64
    assert json.loads(event["metadata"]["moreFields"])["field199"] == 199


def test_logfmt_is_read_with_its_quotes_and_flags() -> None:
    event = event_of(r'level=error msg="order \"17\" failed" took=35ms retried', "logfmt")

    assert (event["level"], event["message"]) == ("ERROR", 'order "17" failed')
    assert (event["metadata"]["took"], event["metadata"]["retried"]) == ("35ms", True)


def test_a_pattern_names_the_fields() -> None:
    pattern = r'^(?P<client>\S+) .* \[(?P<timestamp>[^]]+)\] "(?P<message>[^"]*)" (?P<status>\d+)'
    line = '10.0.0.7 - - [01/Jan/2030:12:00:00 +0000] "GET / HTTP/1.1" 200 17'

    event = event_of(line, "pattern", pattern=pattern, form="%d/%b/%Y:%H:%M:%S %z")

    assert (event["message"], event["timestamp"]) == ("GET / HTTP/1.1", "2030-01-01T12:00:00.000Z")
    assert (event["metadata"]["client"], event["metadata"]["status"]) == ("10.0.0.7", "200")


@pytest.mark.parametrize("name", ["json", "logfmt", "pattern"])
@pytest.mark.parametrize("text", ["just words = ", "[" * 100_000, '{"cut', "ERROR \ud800?"])
def test_a_line_of_another_format_is_sent_as_it_is_and_says_so(name: str, text: str) -> None:
    event = event_of(text, name, pattern=r"^(?P<message>\d+)$" if name == "pattern" else "")

    assert event["message"].replace("?", "") == text.replace("\ud800", "").replace("?", "")
    assert event["metadata"]["unparsed"] is True


@given(st.text(), st.sampled_from(["plain", "json", "logfmt"]))
def test_forebay_takes_an_event_of_any_line(text: str, name: str) -> None:
    event_of(text, name)


@given(
    st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
    )
)
def test_forebay_takes_an_event_of_any_json_object(fields: dict[str, Any]) -> None:
    event_of(json.dumps(fields), "json")


SHAPES = st.tuples(
    st.sampled_from(["2030-01-01", "2029-12-30", "2029-01-01", "2030-13-99"]),
    st.sampled_from(["T", " ", "  "]),
    st.sampled_from(["12:00:00", "11:59:59.123", "11:59:59,123456", "12:00:61", "25:00:00"]),
    st.sampled_from(["", "Z", "+00:00", " UTC"]),
    st.sampled_from([" ", " [", "\t", " | ", "", "     ", " x "]),
    st.sampled_from(["INFO", "ERROR", "INFORMATIONAL", "INFOX", "info", "WARN ERROR"]),
).map("".join)


@given(SHAPES)
def test_the_quick_way_finds_what_the_careful_one_does(text: str) -> None:
    timestamps = Timestamps(zone=UTC, wall_s=lambda: NOW_WALL_S)
    timestamps.start_batch()

    event = event_of(text)

    assert event["level"] == (find_level(text) or "INFO")
    assert event.get("timestamp") == timestamps.find(text)


def test_a_part_of_a_line_keeps_what_is_said_about_it() -> None:
    note: Note = {"part": 1, "lineOffset": 5}

    for name in ("plain", "json"):
        event = json.loads(encoder(name).encode([(17, 5, "{}", note)], ORIGIN)[0])
        assert event["metadata"].items() >= note.items()


def test_a_line_without_a_level_has_the_default() -> None:
    assert event_of("nothing said", level="DEBUG")["level"] == "DEBUG"


@given(
    st.integers(0, 2**40), st.integers(0, 2**64), st.binary(max_size=40), st.integers(0, 9), st.integers(0, 2**48 - 1)
)
def test_an_id_is_a_uuid_of_version_8_and_the_same_each_time(
    device: int, inode: int, first: bytes, generation: int, offset: int
) -> None:
    found = event_id(file_id(device, inode, first, generation), offset)

    assert str(uuid.UUID(found)) == found
    assert (uuid.UUID(found).version, uuid.UUID(found).variant) == (8, uuid.RFC_4122)
    assert found == event_id(file_id(device, inode, first, generation), offset)
    assert found != event_id(file_id(device, inode, first, generation + 1), offset)


def test_an_event_without_its_time_keeps_it_among_the_metadata() -> None:
    event = encoder().encode([(0, 9, "2030-01-01T12:00:00Z INFO x", None)], ORIGIN)[0]

    undated = json.loads(without_timestamp(event))

    assert "timestamp" not in undated
    assert undated["metadata"]["timestamp"] == "2030-01-01T12:00:00Z"
