"""An event's JSON: what the server would refuse never comes out of it."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from datetime import datetime, timezone
from typing import Any

import pytest

from forebay_client import Event, correlated
from forebay_client.events import Encoder, new_event_id


def encoded(event: Event) -> Any:
    data = Encoder("shop", "host-1").event(event)
    assert b"\n" not in data
    return json.loads(data)


def timestamp_of(wall_s: float) -> str:
    return str(encoded(Event("m", wall_s=wall_s))["timestamp"])


def test_an_event_has_what_the_api_takes_and_no_more() -> None:
    event = Event("paid", level="WARN", metadata={"order": 17}, stack_trace="at 1\nat 2", correlation_id="c-1")

    assert encoded(event) == {
        "source": "shop",
        "hostname": "host-1",
        "level": "WARN",
        "message": "paid",
        "eventId": event.event_id,
        "timestamp": timestamp_of(event.wall_s),
        "correlationId": "c-1",
        "metadata": {"order": 17},
        "stackTrace": "at 1\nat 2",
    }


def test_what_is_not_given_is_left_out_and_a_source_of_its_own_counts() -> None:
    document = encoded(Event("", source="other"))

    assert set(document) == {"source", "hostname", "level", "message", "eventId", "timestamp"}
    assert document["source"] == "other"


def test_metadata_holds_scalars_and_text_of_all_else() -> None:
    circle: list[Any] = []
    circle.append(circle)
    given: dict[Any, Any] = {
        "text": 'a "b"\n',
        "yes": True,
        "none": None,
        "whole": -5,
        "part": 1.5,
        "large": 1 << 70,
        "nan": float("nan"),
        "infinite": float("-inf"),
        "list": [1, "é"],
        "key": {(1, 2): 3},
        "circle": circle,
        "day": datetime(2030, 1, 1, tzinfo=timezone.utc),
        7: "seven",
    }

    metadata = encoded(Event("m", metadata=given))["metadata"]

    assert {name: metadata[name] for name in ("text", "yes", "none", "whole", "part")} == {
        "text": 'a "b"\n',
        "yes": True,
        "none": None,
        "whole": -5,
        "part": 1.5,
    }
    assert (metadata["large"], metadata["nan"], metadata["infinite"]) == (str(1 << 70), "nan", "-inf")
    assert (metadata["list"], metadata["key"], metadata["circle"]) == ('[1, "é"]', "{(1, 2): 3}", "[[...]]")
    assert (metadata["day"], metadata["7"]) == ("2030-01-01 00:00:00+00:00", "seven")


def test_metadata_over_64_entries_says_how_many_are_left_out() -> None:
    metadata = encoded(Event("m", metadata={f"n{at}": at for at in range(100)}))["metadata"]

    assert len(metadata) == 64
    assert metadata["entries_left_out"] == 37
    assert metadata["n62"] == 62


def test_text_that_is_no_unicode_is_sent_all_the_same() -> None:
    assert encoded(Event("a\ud800b", metadata={"\udc00": "\ud800"}))["message"] == "a?b"


def test_the_context_gives_the_correlation_id() -> None:
    with correlated("order-17"):
        inside = Event("in")
    outside = Event("out")

    assert (inside.correlation_id, outside.correlation_id) == ("order-17", None)


@pytest.mark.parametrize("wall_s", [0.0, 1_900_000_000.25, 1_900_000_000.75, 1_900_000_001.0])
def test_timestamps_are_utc_with_milliseconds(wall_s: float) -> None:
    assert datetime.fromisoformat(timestamp_of(wall_s)[:-1] + "+00:00") == datetime.fromtimestamp(wall_s, timezone.utc)
    assert timestamp_of(wall_s + 0.0009) == timestamp_of(wall_s)


def test_ids_are_uuid7_unique_over_threads_and_sorted_within_one() -> None:
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda own=own: own.extend(new_event_id(time.time()) for _ in range(5000)))
        for own in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({one for own in made for one in own}) == 20_000
    assert all(own == sorted(own) for own in made)
    assert {uuid.UUID(own[0]).version for own in made} == {7}
    assert {uuid.UUID(own[0]).variant for own in made} == {uuid.RFC_4122}


def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, new_event_id(time.time())[14:].encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(reading, 100).decode() != new_event_id(time.time())[14:]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("source", ["", "x" * 256])
def test_a_source_that_the_server_would_refuse_is_refused_at_once(source: str) -> None:
    with pytest.raises(ValueError, match="source has"):
        Encoder(source, "host")
