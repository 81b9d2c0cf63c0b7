"""What an answer says of each event, and what a request looks like."""

from __future__ import annotations

import email.utils
import gzip
import json
import time
from typing import Any

import pytest

from forebay_client.wire import REFUSED_WAIT_S, Outcome, Place, Rejection, encode_request, read_answer


def read(status: int, document: Any, count: int = 3, **headers: str) -> Outcome:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, count)


def test_202_accepts_all() -> None:
    outcome = read(202, {"accepted": 3, "failed": 0})

    assert list(outcome.accepted) == [0, 1, 2]
    assert (outcome.rejected, outcome.retry_after_s, outcome.code) == ({}, None, "")


def test_207_tells_each_event() -> None:
    error = {"index": 1, "eventId": None, "code": "unknown_level", "detail": "LOUD", "retryable": False}

    outcome = read(207, {"accepted": 2, "failed": 1, "errors": [error]})

    assert list(outcome.accepted) == [0, 2]
    assert outcome.rejected == {1: Rejection("unknown_level", "LOUD")}


def test_an_acknowledgement_tells_the_place_and_what_is_pending() -> None:
    events = [
        {"index": 0, "eventId": "a", "status": "Delivered", "topic": "logs", "partition": 2, "offset": 7},
        {"index": 1, "eventId": "b", "status": "Pending"},
        {"index": 2, "eventId": "c", "status": "Accepted"},
    ]

    outcome = read(202, {"accepted": 3, "failed": 0, "events": events})

    assert outcome.places == {0: Place("logs", 2, 7)}
    assert outcome.pending == {1}


@pytest.mark.parametrize("status", [400, 422])
def test_where_all_are_rejected_each_has_its_own_code(status: int) -> None:
    errors = [
        {"index": 0, "code": "missing_field", "detail": "a"},
        {"index": 1, "code": "unknown_level", "detail": "b"},
    ]

    outcome = read(status, {"code": "all_events_rejected", "errors": errors}, count=2)

    assert {at: rejection.code for at, rejection in outcome.rejected.items()} == {
        0: "missing_field",
        1: "unknown_level",
    }
    assert outcome.retry_after_s is None


@pytest.mark.parametrize("status", [429, 503, 409])
def test_retry_after_leaves_the_events_with_the_caller(status: int) -> None:
    outcome = read(status, {"code": "some_code"}, retry_after="7")

    assert (outcome.retry_after_s, outcome.code) == (7.0, "some_code")
    assert (list(outcome.accepted), outcome.rejected) == ([], {})


def test_retry_after_may_be_a_date() -> None:
    outcome = read(503, {}, retry_after=email.utils.formatdate(time.time() + 60, usegmt=True))

    assert outcome.retry_after_s == pytest.approx(60, abs=5)


@pytest.mark.parametrize("status", [500, 502, 504, 408])
def test_a_server_error_without_a_time_is_tried_again(status: int) -> None:
    assert read(status, b"<html>").retry_after_s == 0.0


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_refused_caller_keeps_its_events_and_waits_long(status: int) -> None:
    outcome = read(status, {"code": "revoked_key"})

    assert outcome.retry_after_s is not None
    assert outcome.retry_after_s >= 10
    assert outcome.rejected == {}


@pytest.mark.parametrize("page", [b"<html>", b"", b'{"code":400}', b'{"code":null}', b'{"error":"denied"}'])
@pytest.mark.parametrize("status", [400, 409, 414, 421, 422, 431])
def test_a_refusal_without_forebays_code_is_somebody_elses_and_rejects_nothing(status: int, page: bytes) -> None:
    outcome = read(status, page)

    assert (list(outcome.accepted), outcome.rejected, outcome.code) == ([], {}, "not_forebay")
    assert outcome.retry_after_s == REFUSED_WAIT_S
    assert str(status) in outcome.detail


@pytest.mark.parametrize("page", [b"<html>log in first</html>", b"[]", b'{"accepted":1,"errors":[{}]}'])
def test_a_200_that_is_not_forebays_accepts_nothing(page: bytes) -> None:
    outcome = read(200, page)

    assert (list(outcome.accepted), outcome.rejected, outcome.code) == ([], {}, "not_forebay")
    assert outcome.retry_after_s is not None


def test_413_is_split_until_one_event_is_left_which_is_rejected() -> None:
    many, one = read(413, {"code": "batch_exceeds_burst"}, 2), read(413, {"code": "body_too_large"}, 1)

    assert many.is_to_be_split
    assert not one.is_to_be_split
    assert one.rejected[0].code == "body_too_large"


@pytest.mark.parametrize(
    ("status", "code"), [(400, "incomplete_body"), (400, "malformed_compression"), (411, "length_required")]
)
def test_a_request_that_was_mangled_on_its_way_rejects_nothing(status: int, code: str) -> None:
    outcome = read(status, {"code": code})

    assert (outcome.rejected, outcome.code, outcome.retry_after_s) == ({}, code, REFUSED_WAIT_S)


def test_413_of_whoever_stands_in_between_is_as_good_as_forebays() -> None:
    many, one = read(413, b"<html>", 2), read(413, b"<html>", 1)

    assert many.is_to_be_split
    assert one.rejected[0].code == "http_413"


def test_an_answer_that_was_not_kept_is_one_that_was_accepted() -> None:
    assert list(read(409, {"code": "idempotency_answer_not_kept"}).accepted) == [0, 1, 2]


def test_the_same_batch_has_the_same_idempotency_key_and_another_has_another() -> None:
    def key(events: list[bytes], delivery: str = "") -> str:
        return encode_request(events, "k", delivery=delivery).headers["Idempotency-Key"]

    assert key([b"{}", b"[]"]) == key([b"{}", b"[]"])
    assert len({key([b"{}"]), key([b"{}"], "ack"), key([b"{}", b"{}"])}) == 3


def test_a_large_body_is_compressed_and_a_small_one_is_not() -> None:
    large, small = encode_request([b"{}"] * 1000, "k", delivery="ack"), encode_request([b"{}"], "k", prefix="/logs")

    assert gzip.decompress(large.body) == b"\n".join([b"{}"] * 1000)
    assert (large.target, large.headers["Content-Encoding"]) == ("/api/logs/batch?delivery=ack", "gzip")
    assert (small.target, small.body) == ("/logs/api/logs/batch", b"{}")
    assert "Content-Encoding" not in small.headers
