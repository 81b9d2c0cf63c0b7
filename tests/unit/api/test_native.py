"""The answers in Forebay's own JSON, for what a client cannot bring about by itself: Kafka's refusals, late reports."""

import json
from typing import Any

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.acks import Place, Result
from ingest.dataplane.errors import BadRequest, EventRejected, Undeliverable
from ingest.dataplane.event import Decoded
from ingest.dataplane.outcome import Outcome
from ingest.protocols.native import answer_many, answer_one
from tests.unit.dataplane.world import event

NOW = "2026-09-21T14:13:20.123Z"
PLACE = Place("logs", 3, 42)
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


def outcome(
    count: int,
    results: dict[int, Result],
    *,
    rejected: tuple[int, ...] = (),
    dropped: tuple[int, ...] = (),
    waits: bool = True,
) -> Outcome:
    """Of `count` events; `rejected` by Forebay itself, `dropped` by a rule, the rest records in their order."""
    decoded = Decoded([event(event_id=f"e-{at}") for at in range(count)], range(count), {})
    told = {at: EventRejected("unknown_level", "level 'LOUD'") for at in rejected}
    made = Outcome(NOW, decoded, count - len(told), told, dict.fromkeys(dropped, "noise"), waits)
    made.record_indexes = [at for at in range(count) if at not in rejected and at not in dropped]
    made.take(results)
    return made


def many(*arguments: Any, **options: Any) -> tuple[int, Any]:
    status, body = answer_many(outcome(*arguments, **options))
    return status, json.loads(body)


def test_everything_in_kafka_is_200_with_its_places() -> None:
    status, body = many(2, {0: PLACE, 1: PLACE})

    assert status == 200
    assert body["events"][1] == {
        "index": 1,
        "eventId": "e-1",
        "status": "Delivered",
        "topic": "logs",
        "partition": 3,
        "offset": 42,
    }


@pytest.mark.parametrize("results", [{}, {0: PLACE}, {0: PLACE, 1: TIMED_OUT}])
def test_what_kafka_has_not_acknowledged_in_time_is_pending(results: dict[int, Result]) -> None:
    status, body = many(2, results)

    assert status == 202
    assert body["events"][1] == {"index": 1, "eventId": "e-1", "status": "Pending"}
    assert (body["accepted"], body["failed"]) == (2, 0)


def test_one_that_kafka_refuses_makes_it_207() -> None:
    status, body = many(3, {0: PLACE, 1: TOO_LARGE, 2: PLACE})

    assert status == 207
    assert (body["accepted"], body["failed"]) == (2, 1)
    (error,) = body["errors"]
    assert (error["index"], error["eventId"], error["code"], error["retryable"]) == (1, "e-1", "undeliverable", False)
    assert [one["index"] for one in body["events"]] == [0, 2]


def test_positions_of_records_are_turned_into_the_senders_indexes() -> None:
    status, body = many(4, {0: TOO_LARGE, 1: PLACE}, rejected=(0,), dropped=(2,))

    assert status == 207
    assert [(error["index"], error["code"]) for error in body["errors"]] == [
        (0, "unknown_level"),
        (1, "undeliverable"),
    ]
    assert [(one["index"], one["status"]) for one in body["events"]] == [(2, "Accepted"), (3, "Delivered")]


def test_when_kafka_refuses_all_of_it_it_is_422() -> None:
    with pytest.raises(Undeliverable) as raised:
        answer_many(outcome(2, {0: TOO_LARGE, 1: TOO_LARGE}))

    assert (raised.value.status, raised.value.code) == (422, "undeliverable")
    assert [error["index"] for error in raised.value.extra["errors"]] == [0, 1]


def test_when_nothing_was_good_it_is_400() -> None:
    with pytest.raises(BadRequest) as raised:
        answer_many(outcome(2, {}, rejected=(0, 1), waits=False))

    assert raised.value.code == "all_events_rejected"


def test_a_single_event_that_kafka_refuses_is_422() -> None:
    with pytest.raises(Undeliverable) as raised:
        answer_one(outcome(1, {0: TOO_LARGE}))

    assert "Message size too large" in raised.value.detail


@pytest.mark.parametrize(("results", "status"), [({0: PLACE}, 200), ({0: TIMED_OUT}, 202), ({}, 202)])
def test_a_single_event_is_200_only_in_kafka(results: dict[int, Result], status: int) -> None:
    found, body = answer_one(outcome(1, results))

    assert found == status
    assert json.loads(body)["status"] == ("Delivered" if status == 200 else "Pending")
    assert json.loads(body)["timestamp"] == NOW
