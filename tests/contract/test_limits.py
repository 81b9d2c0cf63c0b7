"""What is too much, and who may not: the same refusal by the lane and by Django's own handler."""

import gzip
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.types import WSGIApplication

import pytest
import zstandard
from django.conf import settings
from django.db import connection

from ingest.api.lane import Lane
from ingest.dataplane.segments import Record
from ingest.worker import Worker
from tests.contract.cast import BOLTS_EVENTS_A_DAY, KEYS
from tests.contract.exchanges import Answer, call, environ_of, normalised
from tests.programs import poll_until

GOOD = {"source": "checkout", "level": "INFO", "message": "paid"}
ONE = json.dumps(GOOD).encode()
LIMIT_BYTES: int = settings.FOREBAY_BODY_MAX_BYTES
MOST_EVENTS: int = settings.FOREBAY_REQUEST_MAX_EVENTS
Records = Callable[[], list[Record]]


class Pipe:
    """A chunked body as it comes: it never ends by itself, and notes how much was taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int) -> bytes:
        self.taken += size
        return b"x" * size

    readline = read  # Django looks for it, and leaves it alone


@pytest.fixture
def post(way: WSGIApplication, peer: str) -> Callable[..., Answer]:
    def send(
        body: bytes, path: str = "/api/logs", *, key: str = "acme", chunked: bool = False, **headers: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Authorization", f"Bearer {KEYS[key]}")
        return call(way, environ_of("POST", path, body, named, peer=peer, chunked=chunked))

    return send


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["code"]


# --- how many --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["array", "lines"])
def test_ten_thousand_events_are_a_request_and_one_more_is_not(
    post: Callable[..., Answer], new_records: Records, form: str
) -> None:
    def batch(count: int) -> bytes:
        return b"[" + b",".join([ONE] * count) + b"]" if form == "array" else b"\n".join([ONE] * count)

    taken, refused = post(batch(MOST_EVENTS), "/api/logs/batch"), post(batch(MOST_EVENTS + 1), "/api/logs/batch")

    assert (taken.status, taken.body["accepted"]) == (202, MOST_EVENTS)
    assert code(refused) == (413, "too_many_events")
    assert len(new_records()) == MOST_EVENTS


def test_ten_thousand_bad_events_are_told_one_by_one(post: Callable[..., Answer]) -> None:
    answer = post(b"\n".join([b"{}"] * MOST_EVENTS), "/api/logs/batch")

    assert code(answer) == (400, "all_events_rejected")
    assert [error["index"] for error in answer.body["errors"]] == list(range(MOST_EVENTS))


@pytest.mark.parametrize("depth_in", [b"%s", b'{"source":"a","level":"INFO","message":"m","tenant":%s}', b'{"x":%s}'])
@pytest.mark.parametrize("path", ["/api/logs", "/api/logs/batch"])
def test_a_depth_of_100_000_is_refused(post: Callable[..., Answer], path: str, depth_in: bytes) -> None:
    answer = post(depth_in % (b"[" * 100_000 + b"]" * 100_000), path)

    assert answer.status == 400


def test_an_event_is_measured_as_kafka_will_store_it(post: Callable[..., Answer], new_records: Records) -> None:
    def sized(message_bytes: int) -> bytes:
        return json.dumps(GOOD | {"message": "x" * message_bytes}).encode()

    taken, refused = post(sized(settings.FOREBAY_EVENT_MAX_BYTES - 600)), post(sized(settings.FOREBAY_EVENT_MAX_BYTES))

    assert taken.status == 202
    assert code(refused) == (400, "event_too_large")
    assert len(new_records()) == 1


# --- how much --------------------------------------------------------------------------------------------------------
def test_a_body_of_just_the_limit_is_read_and_one_byte_more_is_not(post: Callable[..., Answer]) -> None:
    fits = ONE + b" " * (LIMIT_BYTES - len(ONE))

    assert post(fits).status == 202
    refused = post(fits + b" ")
    assert code(refused) == (413, "body_too_large")
    assert refused.body["limit"] == LIMIT_BYTES


@pytest.mark.parametrize("size", [len(ONE), 200_000])
def test_a_chunked_body_is_read_without_its_length(
    post: Callable[..., Answer], new_records: Records, size: int
) -> None:
    answer = post(ONE.ljust(size), chunked=True)

    assert answer.status == 202
    assert len(new_records()) == 1


def test_a_chunked_body_over_the_limit_is_given_up(way: WSGIApplication, peer: str) -> None:
    environ = environ_of("POST", "/api/logs", b"", {"Authorization": f"Bearer {KEYS['acme']}"}, peer=peer)
    environ["wsgi.input"] = endless = Pipe()

    answer = call(way, environ)

    assert code(answer) == (413, "body_too_large")
    assert endless.taken <= LIMIT_BYTES + 1


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_bomb_is_refused(post: Callable[..., Answer], compress: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if compress is gzip.compress else "zstd"

    answer = post(compress(bytes(100 << 20)), Content_Encoding=encoding)

    assert code(answer) == (413, "body_too_large")


def test_a_body_shorter_than_its_length_is_refused(post: Callable[..., Answer], new_records: Records) -> None:
    answer = post(ONE, Content_Length=str(len(ONE) + 1))

    assert code(answer) == (400, "incomplete_body")
    assert new_records() == []


@pytest.mark.parametrize("length", ["x", "-5", "1.5"])
def test_a_length_that_is_no_number_is_refused(node: Worker, peer: str, length: str) -> None:
    """By the lane alone: Django's middleware reads the length before any view."""
    headers = {"Authorization": f"Bearer {KEYS['acme']}", "Content-Length": length}

    answer = call(Lane(_nobody), environ_of("POST", "/api/logs", ONE, headers, peer=peer))

    assert code(answer) == (400, "incomplete_body")


# --- how often -------------------------------------------------------------------------------------------------------
def test_a_used_up_quota_is_429_with_all_that_a_sender_needs(post: Callable[..., Answer], peer: str) -> None:
    answers: list[Answer] = []

    def is_used_up() -> bool:
        # The very first refusals may come before the quota's owner has said when there will be more.
        answers.append(post(ONE, key="bolt"))
        return answers[-1].status == 429 and answers[-1].body["reset_s"] > 60

    assert poll_until(is_used_up, 20)
    refused = answers[-1]
    assert normalised(refused, peer) == {
        "status": 429,
        "headers": {
            "Content-Type": "application/problem+json",
            "X-Correlation-ID": "<trace>",
            "Retry-After": "<wait>",
            "RateLimit-Policy": '"tenant-events_per_day";q=3;w=86400',
            "RateLimit": '"tenant-events_per_day";r=0;t=<wait>',
        },
        "body": {
            "type": "urn:forebay:problem:quota_exceeded",
            "title": "Quota exceeded",
            "status": 429,
            "code": "quota_exceeded",
            "detail": refused.body["detail"],
            "scope": "tenant",
            "what": "events_per_day",
            "limit": 3,
            "burst": 3,
            "used": refused.body["used"],
            "reset_s": "<reset_s>",
        },
    }
    assert 0 < refused.body["used"] <= 3
    assert int(refused.headers["Retry-After"]) >= refused.body["reset_s"] > 0
    assert f"t={refused.headers['Retry-After']}" in refused.headers["RateLimit"]


def test_more_than_the_burst_at_once_is_413_and_names_it(post: Callable[..., Answer]) -> None:
    answer = post(b"\n".join([ONE] * (BOLTS_EVENTS_A_DAY + 1)), "/api/logs/batch", key="bolt")

    # With the quota used up by then, the refusal comes before the body is read.
    assert code(answer) in [(413, "batch_exceeds_burst"), (429, "quota_exceeded")]
    assert answer.body["burst"] == BOLTS_EVENTS_A_DAY


def test_who_has_no_key_is_limited_by_address(post: Callable[..., Answer]) -> None:
    most = 3 * settings.FOREBAY_ANONYMOUS_REQUESTS_PER_S

    answers = [post(ONE, Authorization="Bearer nobody's") for _ in range(most)]

    refused = next(answer for answer in answers if answer.status != 401)
    assert code(refused) == (429, "address_limit_exceeded")
    assert refused.body["scope"] == "address"
    assert refused.headers["Retry-After"] == "1"


# --- without the database --------------------------------------------------------------------------------------------
def nobodys_keys() -> list[dict[str, str]]:
    return [
        {},
        {"X-API-Key": "fb_short"},
        {"X-API-Key": KEYS["acme"][:-1] + "x"},
        *(
            {"Authorization": f"Bearer {KEYS[name]}"}
            for name in ("cruxgone", "cruxlate", "dorn", "acmeread", "acmeofce")
        ),
    ]


@pytest.mark.parametrize("headers", [*nobodys_keys(), {"Authorization": f"Bearer {KEYS['acme']}"}], ids=str)
def test_no_key_good_or_bad_costs_a_query(way: WSGIApplication, peer: str, headers: dict[str, str]) -> None:
    asked: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        asked.append(sql)
        return execute(sql, *arguments)

    with connection.execute_wrapper(note):
        answer = call(way, environ_of("POST", "/api/logs", ONE, headers, peer=peer))

    assert answer.status in (202, 401, 403)
    assert asked == []


# --- many at once ----------------------------------------------------------------------------------------------------
def test_requests_of_many_threads_do_not_mix(way: WSGIApplication, new_records: Records) -> None:
    """One view serves all threads: each answer belongs to its request, and each event is journaled once."""
    barrier = threading.Barrier(8)

    def run(thread: int) -> list[bool]:
        barrier.wait()
        return [exchange(thread, number) for number in range(40)]

    def exchange(thread: int, number: int) -> bool:
        name = f"{thread}-{number}"
        headers = {"Authorization": f"Bearer {KEYS['acme']}", "X-Correlation-ID": name}
        body = json.dumps(GOOD | {"eventId": name}).encode()
        answer = call(way, environ_of("POST", "/api/logs", body, headers, peer=f"198.51.100.{thread}"))
        return (answer.status, answer.body["eventId"], answer.headers["X-Correlation-ID"]) == (202, name, name)

    with ThreadPoolExecutor(8) as threads:
        right = [one for answers in threads.map(run, range(8)) for one in answers]

    assert right == [True] * 320
    values = [json.loads(value) for _, _, _, value, _ in new_records()]
    assert sorted(value["eventId"] for value in values) == sorted(f"{t}-{n}" for t in range(8) for n in range(40))
    assert all(value["correlationId"] == value["eventId"] for value in values)
    assert all(value["hostname"].endswith(f".{value['eventId'].partition('-')[0]}") for value in values)


def _nobody(environ: object, start_response: object) -> list[bytes]:
    raise AssertionError("this path is the lane's")
