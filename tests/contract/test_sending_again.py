"""What is sent again is answered, not taken, again: by the lane and by Django's own handler, over a real Redis."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.types import WSGIApplication

import pytest
from django.conf import settings
from redis import Redis

from ingest.api import idempotency
from ingest.api.answers import Answer as Stored
from ingest.api.claims import Claims
from ingest.api.idempotency import Once
from ingest.dataplane.errors import Conflict
from ingest.dataplane.event import Decoded, LogEvent, decode_one
from ingest.dataplane.outcome import Outcome
from ingest.models import QuarantinedEvent
from ingest.quarantine import Quarantine
from ingest.worker import Worker
from tests.contract.cast import KEYS
from tests.contract.exchanges import Answer, call, environ_of

GOOD = {"source": "checkout", "level": "INFO", "message": "paid"}
BAD = GOOD | {"level": "LOUD"}
ONE, BATCH = "/api/logs", "/api/logs/batch"
Records = Callable[[], list[Any]]


@pytest.fixture
def claims(node: Worker, empty_redis_url: str) -> Iterator[Claims]:
    """The worker remembers what came."""
    before = node.claims
    with Redis.from_url(empty_redis_url, socket_timeout=5) as redis:
        node.claims = Claims(redis, kept_s=3_600, max_events=settings.FOREBAY_REQUEST_MAX_EVENTS)
        yield node.claims
    node.claims = before


@pytest.fixture
def post(way: WSGIApplication, peer: str) -> Callable[..., Answer]:
    def send(
        body: object, key: str | None = None, *, path: str = ONE, sender: str = "echo", query: str = "", **more: Any
    ) -> Answer:
        headers = {"Authorization": f"Bearer {KEYS[sender]}"} | ({} if key is None else {"Idempotency-Key": key})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return call(way, environ_of("POST", path, raw, headers, peer=peer, query=query, **more))

    return send


def status(answer: Answer) -> str:
    return answer.headers.get("Idempotency-Status", "")


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["code"]


def values(records: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(record[3]) for record in records]


# --- Idempotency-Key -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [(ONE, GOOD, 202), (BATCH, [GOOD, GOOD], 202), (BATCH, [GOOD, BAD], 207)],
    ids=["one", "many", "some bad"],
)
def test_the_same_request_is_answered_as_the_first_time_and_not_taken(
    claims: Claims, post: Callable[..., Answer], new_records: Records, path: str, body: object, expected: int
) -> None:
    first = post(body, "k-1", path=path)
    stored = len(new_records())
    second = post(body, "k-1", path=path)

    assert (first.status, status(first)) == (expected, "")
    assert (second.status, second.body, status(second)) == (first.status, first.body, "replayed")
    assert second.headers["Content-Type"] == first.headers["Content-Type"]
    assert len(new_records()) == stored > 0


@pytest.mark.parametrize(
    "other",
    [{"body": [GOOD, BAD]}, {"path": ONE, "body": GOOD}, {"query": "delivery=async"}],
    ids=["body", "route", "query"],
)
def test_a_key_that_comes_with_another_request_is_refused(
    claims: Claims, post: Callable[..., Answer], new_records: Records, other: dict[str, Any]
) -> None:
    request = {"body": [GOOD], "path": BATCH}
    post(key="k-1", **request)

    refused = post(key="k-1", **(request | other))

    assert code(refused) == (422, "idempotency_key_reused")
    assert len(new_records()) == 1


def test_other_keys_and_requests_without_one_are_taken(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    answers = [post(GOOD, key) for key in ("k-1", "k-2", None, None)]

    assert [(answer.status, status(answer)) for answer in answers] == [(202, "")] * 4
    assert len({value["eventId"] for value in values(new_records())}) == 4


@pytest.mark.parametrize("path", [ONE, BATCH])
def test_a_refused_request_leaves_its_key_free(claims: Claims, post: Callable[..., Answer], path: str) -> None:
    def body(event: object) -> object:
        return event if path == ONE else [event]

    refused = post(body(BAD), "k-1", path=path)
    corrected = post(body(GOOD), "k-1", path=path)

    assert refused.status == 400
    assert (corrected.status, status(corrected)) == (202, "")


def test_a_request_that_is_not_answered_yet_is_waited_for(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    body = json.dumps(GOOD).encode()
    with Once(claims, "echo") as first:
        first.name_key("k-1", str(len(body)), ("logs", ""), body)
        first.claim()

        early = post(body, "k-1")
        other = post(GOOD | {"message": "other"}, "k-1")
    late = post(body, "k-1")

    assert code(early) == (409, "idempotency_in_progress")
    assert early.headers["Retry-After"] == "1"
    assert code(other) == (422, "idempotency_key_reused")
    assert late.status == 202
    assert len(new_records()) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "ä", "\x07"])
def test_a_key_that_is_none_is_refused(claims: Claims, post: Callable[..., Answer], key: str) -> None:
    assert code(post(GOOD, key)) == (400, "invalid_idempotency_key")
    assert post(GOOD, "x" * 255).status == 202


def test_a_key_needs_to_know_that_its_body_is_whole(claims: Claims, post: Callable[..., Answer]) -> None:
    assert code(post(GOOD, "k-1", chunked=True)) == (411, "length_required")
    assert post(GOOD, chunked=True).status == 202


def test_a_plan_without_keys_says_so_and_takes_the_request(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    answers = [post(GOOD, "k-1", sender="acme"), post(GOOD, "", sender="acme")]

    assert [(answer.status, status(answer)) for answer in answers] == [(202, "unsupported")] * 2
    assert len(new_records()) == 2


def test_an_answer_that_is_too_large_to_keep_is_not_given_again_and_nothing_taken(claims: Claims) -> None:
    outcome = Outcome("now", Decoded([], (), {}), 1, {}, {}, wanted_ack=False)
    with Once(claims, "echo") as first:
        first.name_key("k-1", "1", ("logs",), b"x")
        first.claim()
        first.keep(outcome, Stored(202, os.urandom(idempotency.ANSWER_MAX_BYTES + 1)))

    again = Once(claims, "echo")
    again.name_key("k-1", "1", ("logs",), b"x")
    with pytest.raises(Conflict) as refused:
        again.claim()

    assert (refused.value.code, refused.value.retry_after_s) == ("idempotency_answer_not_kept", None)


# --- eventId ---------------------------------------------------------------------------------------------------------
def ids(*names: str) -> list[dict[str, Any]]:
    return [GOOD | {"eventId": name} for name in names]


def test_an_event_that_came_before_is_accepted_and_dropped(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    post(ids("e-1")[0])
    post(ids("e-2", "e-3"), path=BATCH)

    single = post(ids("e-2")[0])
    batch = post(ids("e-1", "e-4", "e-3"), path=BATCH)

    assert (single.status, single.body["eventId"], single.body["status"]) == (202, "e-2", "Accepted")
    assert (batch.status, batch.body["accepted"], batch.body["failed"]) == (202, 3, 0)
    assert [value["eventId"] for value in values(new_records())] == ["e-1", "e-2", "e-3", "e-4"]


def test_of_two_events_with_one_id_in_a_request_the_first_is_taken(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    first, second = GOOD | {"eventId": "e-1"}, GOOD | {"eventId": "e-1", "message": "again"}

    answer = post([first, GOOD, second, GOOD], path=BATCH)

    assert answer.body["accepted"] == 4
    assert [value["message"] for value in values(new_records())] == ["paid", "paid", "paid"]


def test_the_id_of_a_rejected_event_stays_free(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    rejected = post([*ids("e-1"), BAD | {"eventId": "e-2"}], path=BATCH)

    corrected = post(ids("e-1", "e-2"), path=BATCH)

    assert (rejected.status, corrected.status) == (207, 202)
    assert [value["eventId"] for value in values(new_records())] == ["e-1", "e-2"]


def test_a_request_with_an_event_that_is_not_answered_yet_is_waited_for(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    with Once(claims, "echo") as first:
        first.name_events(decode_one, json.dumps(ids("e-1")[0]).encode())
        first.claim()

        early = post(ids("e-2", "e-1"), path=BATCH)
    late = post(ids("e-2", "e-1"), path=BATCH)

    assert code(early) == (409, "duplicate_in_progress")
    assert early.headers["Retry-After"] == "1"
    assert late.status == 202
    assert [value["eventId"] for value in values(new_records())] == ["e-2", "e-1"]


def test_an_event_is_its_tenants_own(claims: Claims, post: Callable[..., Answer], new_records: Records) -> None:
    with Once(claims, "acme") as others:
        others.name_events(decode_one, json.dumps(ids("e-1")[0]).encode())
        others.claim()
        others.keep(
            Outcome("now", Decoded([LogEvent("s", "INFO", "m", "e-1")], (0,), {}), 1, {}, {}, wanted_ack=False),
            Stored(202, b""),
        )

    post(ids("e-1")[0])
    post(ids("e-1")[0], sender="acme")
    post(ids("e-1")[0], sender="acme")

    assert [value["tenant"] for value in values(new_records())] == ["echo", "acme", "acme"]


def test_a_request_of_nothing_but_duplicates_is_accepted(
    claims: Claims, post: Callable[..., Answer], new_records: Records
) -> None:
    for _ in range(3):
        answer = post(ids("e-1", "e-2"), "k-1" if _ == 1 else None, path=BATCH)
        assert (answer.status, answer.body["accepted"]) == (202, 2)

    replayed = post(ids("e-1", "e-2"), "k-1", path=BATCH)

    assert status(replayed) == "replayed"
    assert len(new_records()) == 2


# --- without Redis ---------------------------------------------------------------------------------------------------
def test_without_redis_what_comes_is_taken_and_said_to_be_unchecked(
    post: Callable[..., Answer], new_records: Records
) -> None:
    answers = [post(GOOD, "k-1"), post(GOOD, "k-1"), post(ids("e-1")[0]), post(ids("e-1", "e-1"), path=BATCH)]

    assert [(answer.status, status(answer)) for answer in answers] == [(202, "unchecked")] * 4
    assert len(new_records()) == 4  # of two in one request the first is still the only one


# --- what is rejected ------------------------------------------------------------------------------------------------
@pytest.fixture
def kept(node: Worker) -> Iterator[Callable[[], list[QuarantinedEvent]]]:
    """What the worker's quarantine would have written, once it has stopped."""
    before, rows = node.quarantine, []  # type: tuple[Quarantine, list[QuarantinedEvent]]
    node.quarantine = Quarantine(rows.extend, events_per_minute=100)
    node.quarantine.start()

    def stopped() -> list[QuarantinedEvent]:
        node.quarantine.stop()
        return rows

    yield stopped
    node.quarantine.stop()
    node.quarantine = before


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        (ONE, b'{"source":"a"}', [(0, "missing_field", '{"source":"a"}')]),
        (ONE, json.dumps(BAD).encode(), [(0, "unknown_level", json.dumps(BAD))]),
        (ONE, b"{", [(0, "malformed_json", "{")]),
        (BATCH, b"[{},", [(0, "malformed_json", "[{},")]),
        (
            BATCH,
            json.dumps([GOOD, BAD, 7]).encode(),
            [(1, "unknown_level", json.dumps(BAD)), (2, "not_an_object", "7")],
        ),
        (
            BATCH,
            b'{"source":1}\n\n{"password":"hunter2"',
            [(0, "invalid_field", '{"source":1}'), (1, "unknown_field", '{"password":"[secret]"')],
        ),
        (BATCH, json.dumps([GOOD]).encode(), []),
        (BATCH, b"[]", []),
    ],
)
def test_what_is_rejected_is_kept_for_an_operator(
    kept: Callable[[], list[QuarantinedEvent]],
    post: Callable[..., Answer],
    path: str,
    body: bytes,
    found: list[tuple[int, str, str]],
) -> None:
    post(body, path=path)
    post(body, path=path, sender="acme")

    rows = kept()
    assert [(row.index, row.code, row.text) for row in rows] == found
    assert {(row.tenant, row.key_id, row.dialect) for row in rows} <= {("echo", 9, "native")}
