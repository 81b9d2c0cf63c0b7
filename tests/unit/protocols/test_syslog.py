"""Syslog messages to events: RFC 5424, RFC 3164 as devices write it, and what is neither."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.event import EventLimits, complete
from ingest.protocols.syslog import parse
from tests.unit.dataplane.world import NOW_WALL_MS, stamp

THEN = "2026-09-21T14:13:15Z"
LIMITS = EventLimits(4_096, 2_048, 10, 64, 7 * 86_400, 600)


def parsed(message: str | bytes) -> dict[str, Any]:
    """The fields of the event that are set."""
    event = parse(message if isinstance(message, bytes) else message.encode(), NOW_WALL_MS, LIMITS).event
    fields = ("source", "level", "message", "timestamp", "hostname", "metadata")
    return {name: getattr(event, name) for name in fields if getattr(event, name) is not None}


def test_every_field_of_the_new_form_has_its_place() -> None:
    message = (
        "<165>1 2026-09-21T14:13:19.003Z mymachine.example.com evntslog 8710 ID47"
        ' [exampleSDID@32473 iut="3" eventSource="Application"][other@1 a="b\\"c\\]d\\\\"]'
        " \N{ZERO WIDTH NO-BREAK SPACE}An entry"
    )

    assert parsed(message) == {
        "source": "evntslog",
        "level": 5,
        "message": "An entry",
        "timestamp": "2026-09-21T14:13:19.003Z",
        "hostname": "mymachine.example.com",
        "metadata": {
            "facility": "local4",
            "exampleSDID@32473.iut": "3",
            "exampleSDID@32473.eventSource": "Application",
            "other@1.a": 'b"c]d\\',
            "procid": "8710",
            "msgid": "ID47",
        },
    }


def test_a_new_form_in_which_nothing_is_said_says_nothing() -> None:
    assert parsed("<34>1 - - - - - -") == {
        "source": "syslog",
        "level": 2,
        "message": "",
        "metadata": {"facility": "auth"},
    }


def test_the_key_in_the_structured_data_is_told_and_not_stored() -> None:
    event, key = parse(b'<13>1 - - app - - [forebay@32473 key="fb_x" team="a"] hi', NOW_WALL_MS, LIMITS)

    assert key == "fb_x"
    assert (event.message, event.metadata) == ("hi", {"facility": "user", "forebay@32473.team": "a"})


@pytest.mark.parametrize(
    "message",
    [
        '<13>1 - - a - - [forebay@1 key="{key}" flag] m',
        '<13>1 - - a - - [forebay@1 key="{key}"',
        '<13>1 - - a - - [x y][forebay@1 key="{key}"] m',
        '<13>1 - - a - - [forebay@1 api_key="{key}"] m',
        "<13>1 - - a - {key} - m",
        '<13>Sep 21 14:13:15 host a: [forebay@1 key="{key}"] m',
    ],
)
def test_a_key_that_is_somewhere_else_is_masked(message: str) -> None:
    secret = "fb_acme0000_" + "Za-_" * 10 + "xyz"

    event, key = parse(message.format(key=secret).encode(), NOW_WALL_MS, LIMITS)

    assert key is None
    assert "Za-_" not in repr(event)
    assert "[key]" in repr(event)


def test_structured_data_that_is_none_stays_in_the_message() -> None:
    assert parsed('<13>1 - - app - - [broken a="b hi')["message"] == '[broken a="b hi'


@pytest.mark.parametrize(
    ("message", "source", "hostname", "text", "timestamp"),
    [
        ("<34>Sep 21 14:13:15 mymachine su: 'su root' failed", "su", "mymachine", "'su root' failed", THEN),
        ("<34>Sep 21 14:13:15 10.0.0.9 sshd[42]: bye", "sshd", "10.0.0.9", "bye", THEN),
        ("<34>Sep 21 14:13:15 sshd[42]: no host", "sshd", None, "no host", THEN),
        ("<34>Sep 21 2026 14:13:15: %ASA-6-1: built", "%ASA-6-1", None, "built", THEN),
        ("<34>2026-09-21T14:13:15Z h app: x", "app", "h", "x", THEN),
        ("<34>Sep 21 14:13:15 h only words here", "h", "h", "only words here", THEN),
        ("<34>words alone", "syslog", None, "words alone", None),
        ("no priority at all", "syslog", None, "no priority at all", None),
        ("<999>too high", "syslog", None, "<999>too high", None),
    ],
)  # fmt: skip
def test_the_old_form_as_devices_write_it(
    message: str, source: str, hostname: str | None, text: str, timestamp: str | None
) -> None:
    found = parsed(message)

    assert (found["source"], found.get("hostname"), found["message"]) == (source, hostname, text)
    assert found.get("timestamp") == timestamp


def test_a_time_without_a_year_is_the_nearest_one() -> None:
    new_year_wall_ms = 1_798_761_600_000 + 5_000  # 2027-01-01T00:00:05Z

    event = parse(b"<34>Dec 31 23:59:59 h a: x", new_year_wall_ms, LIMITS).event

    assert event.timestamp == "2026-12-31T23:59:59Z"


@pytest.mark.parametrize("time", ["2020-01-01T00:00:00Z", "2026-13-41T00:00:00Z", "yesterday"])
def test_a_clock_that_cannot_be_right_costs_the_time_and_not_the_event(time: str) -> None:
    found = parsed(f"<13>1 {time} h app - - - hi")

    assert "timestamp" not in found
    assert found["metadata"]["timestamp"] == time


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    assert parsed(b"<13>app: caf\xe9")["message"] == "caf\\xe9"


@given(st.binary(max_size=200))
def test_whatever_comes_is_an_event_that_the_pipeline_takes(message: bytes) -> None:
    event = parse(b"<13>" + message, NOW_WALL_MS, LIMITS).event

    complete(event, stamp(), LIMITS)

    assert event.level == "INFO"
    assert 1 <= len(event.source) <= 255


def test_structured_data_never_fills_the_metadata_beyond_its_limit() -> None:
    elements = "".join(f'[e{number}@1 a="b"]' for number in range(200))

    event = parse(f"<13>1 2001-01-01T00:00:00Z h app 1 2 {elements} hi".encode(), NOW_WALL_MS, LIMITS).event

    assert event.metadata is not None
    assert len(event.metadata) <= LIMITS.metadata_max_entries
