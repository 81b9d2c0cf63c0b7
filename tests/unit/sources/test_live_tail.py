"""What a reader of the tail sees of an event, and which events it wants."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from ingest.dataplane.errors import BadRequest
from ingest.sources.live_tail import CUT_CHARACTERS, SHOWN_MAX_BYTES, Filters, Shown, _readable


def value(**fields: Any) -> bytes:
    return json.dumps({"source": "s", "level": "INFO", "message": "m", "eventId": "e", **fields}).encode()


def shown(text: bytes) -> dict[str, Any]:
    assert text.startswith(b"data: ")
    assert text.endswith(b"\n\n")
    return dict(json.loads(text.removeprefix(b"data: ")))


def test_secrets_and_addresses_are_masked() -> None:
    text, _ = _readable(value(message="mail bob@example.com", metadata={"password": "hunter2"}))

    assert shown(text)["message"] == "mail [email]"
    assert shown(text)["metadata"] == {"password": "[secret]"}


def test_of_a_large_event_the_beginning_of_its_message_is_shown() -> None:
    text, _ = _readable(value(message="bob@example.com " + "x" * SHOWN_MAX_BYTES))

    assert shown(text)["message"].startswith("[email] xx")
    assert len(shown(text)["message"]) <= CUT_CHARACTERS + 1
    assert shown(text)["eventId"] == "e"


@pytest.mark.parametrize(
    ("query", "source", "level", "wanted"),
    [
        ("", "s", "INFO", True),
        ("level=error,warning", "s", "WARN", True),
        ("level=error,warning", "s", "INFO", False),
        ("level=3", "s", "ERROR", True),
        ("source=check*", "checkout", "INFO", True),
        ("source=check*", "Checkout", "INFO", False),
        ("source=check&level=info", "checkout", "INFO", False),
        ("source=a.b", "axb", "INFO", False),
    ],
)
def test_filters_choose_by_level_and_source(query: str, source: str, level: str, wanted: bool) -> None:
    assert Filters(dict(parse_qsl(query, keep_blank_values=True))).take(Shown(source, level, "m", "e")) is wanted


@pytest.mark.parametrize("query", ["level=loud", "level=", "colour=red"])
def test_a_filter_that_is_none_is_refused(query: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Filters(dict(parse_qsl(query, keep_blank_values=True)))

    assert refused.value.code == "invalid_query"
