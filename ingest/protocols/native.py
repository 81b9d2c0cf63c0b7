"""Forebay's own JSON: one event or a batch in; accepted, delivered, pending and rejected out, by index.

The edge of the data plane; pure. docs/api.md describes both directions.
"""

from typing import Any

import msgspec

from ingest.dataplane.acks import Place
from ingest.dataplane.errors import BadRequest, Undeliverable
from ingest.dataplane.outcome import Outcome

_encode = msgspec.json.Encoder().encode


def answer_one(outcome: Outcome) -> tuple[int, bytes]:
    """The answer for a single event. Raises BadRequest or Undeliverable when it was not accepted."""
    if outcome.rejected:
        error = outcome.rejected[0]
        raise (Undeliverable if error.code == "undeliverable" else BadRequest)(error.code, error.detail)
    event_id = outcome.decoded.events[0].event_id
    if not outcome.wanted_ack:
        return (202, _encode({"eventId": event_id, "status": "Accepted", "timestamp": outcome.received_at}))
    event = _states(outcome)[0]
    del event["index"]
    event["timestamp"] = outcome.received_at
    return (200 if event["status"] == "Delivered" else 202, _encode(event))


def answer_many(outcome: Outcome) -> tuple[int, bytes]:
    """The answer for a batch. Raises BadRequest or Undeliverable when no event of it was accepted."""
    failed = len(outcome.rejected)
    answer: dict[str, Any] = {"accepted": outcome.accepted, "failed": failed, "timestamp": outcome.received_at}
    if failed:
        answer["errors"] = errors = _errors(outcome)
        if not outcome.accepted:
            _raise_for_all(errors)
    is_delivered = False
    if outcome.wanted_ack:
        answer["events"] = events = _states(outcome)
        is_delivered = all(event["status"] == "Delivered" for event in events)
    return (207 if failed else 200 if is_delivered else 202, _encode(answer))


def _states(outcome: Outcome) -> list[dict[str, Any]]:
    """Delivered with its place or Pending for each record; Accepted for an event that a rule dropped as declared."""
    places = {outcome.record_indexes[position]: result for position, result in outcome.results.items()}
    recorded = set(outcome.record_indexes)
    states: list[dict[str, Any]] = []
    for index, event in zip(outcome.decoded.indexes, outcome.decoded.events, strict=True):
        if index in outcome.rejected:
            continue
        state: dict[str, Any] = {"index": index, "eventId": event.event_id}
        place = places.get(index)
        if isinstance(place, Place):
            state |= {"status": "Delivered", **place._asdict()}
        else:
            state["status"] = "Pending" if index in recorded else "Accepted"
        states.append(state)
    return states


def _errors(outcome: Outcome) -> list[dict[str, Any]]:
    event_ids = {
        index: event.event_id
        for index, event in zip(outcome.decoded.indexes, outcome.decoded.events, strict=True)
        if index in outcome.rejected
    }
    return [
        {
            "index": index,
            "eventId": event_ids.get(index),
            "code": error.code,
            "detail": error.detail,
            "retryable": False,
        }
        for index, error in sorted(outcome.rejected.items())
    ]


def _raise_for_all(errors: list[dict[str, Any]]) -> None:
    if not errors:
        return
    if any(error["code"] == "undeliverable" for error in errors):
        raise Undeliverable("undeliverable", "None of the events can be stored by Kafka", errors=errors)
    raise BadRequest("all_events_rejected", "None of the events was accepted", errors=errors)
