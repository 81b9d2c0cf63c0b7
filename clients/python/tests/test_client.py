"""The client against a server that follows a script: what is sent when, and what becomes of each event."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Any

import pytest
from conftest import MakeClient
from stub import REFUSED, Answer, Asked, Stub, poll_until

from forebay_client import Client, Counters, Event, Place, Rejected, Result, Unacknowledged


def adds_up(counters: Counters) -> bool:
    ends = counters.accepted + sum(counters.rejected.values()) + sum(counters.dropped.values())
    return counters.taken + counters.recovered == ends + counters.buffered_events + counters.spool_events


def settled(client: Client) -> Counters:
    assert client.flush(60)
    counters = client.counters()
    print(counters)
    assert adds_up(counters)
    return counters


def send_many(client: Client, count: int, message: str = "number") -> list[str]:
    events = [Event(f"{message} {at}") for at in range(count)]
    for event in events:
        client.send_nowait(event)
    return [event.event_id for event in events]


# --- fire and forget


def test_events_leave_together_and_in_order(stub: Stub, make_client: MakeClient) -> None:
    client = make_client(batch_max_events=100, linger_s=60)

    sent = send_many(client, 1000)
    counters = settled(client)

    assert [event["eventId"] for event in stub.events] == sent
    assert (counters.accepted, counters.buffered_bytes) == (1000, 0)
    assert len(stub.asked) == 10
    assert stub.asked[0].headers["authorization"] == "Bearer fb_key"


def test_a_batch_is_bounded_in_bytes(stub: Stub, make_client: MakeClient) -> None:
    client = make_client(batch_max_bytes=10_000)

    send_many(client, 100, "x" * 1000)
    settled(client)

    assert len(stub.events) == 100
    assert max(len(asked.events) for asked in stub.asked) < 10


def test_one_event_leaves_by_time(stub: Stub, make_client: MakeClient) -> None:
    make_client().send_nowait(Event("alone"))

    stub.wait_for(1)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_and_the_same_events_come_again_under_the_same_key(
    stub: Stub, make_client: MakeClient, status: int
) -> None:
    stub.script = [Answer(status, {"code": "x"}, {"Retry-After": "1"})]
    client = make_client(linger_s=60)

    sent = send_many(client, 3)
    counters = settled(client)

    first, second = stub.asked
    assert second.at_s - first.at_s >= 1
    assert first.event_ids == second.event_ids == sent
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert (counters.accepted, counters.requests, counters.retries) == (3, 2, 1)


def test_a_broken_connection_is_tried_again(stub: Stub, make_client: MakeClient) -> None:
    stub.script = [Answer(close=True), Answer(close=True)]
    client = make_client(linger_s=60)

    sent = send_many(client, 3)
    counters = settled(client)

    assert stub.asked[-1].event_ids == sent
    assert counters.accepted == 3


def test_a_connection_that_was_closed_while_idle_costs_nothing(stub: Stub, make_client: MakeClient) -> None:
    client = make_client()
    send_many(client, 1)
    settled(client)

    stub.script = [Answer(close=True)]
    send_many(client, 1)
    counters = settled(client)

    assert (counters.accepted, counters.retries) == (2, 0)


def test_a_server_that_is_too_slow_is_asked_again(stub: Stub, make_client: MakeClient) -> None:
    stub.script = [Answer(delay_s=10)]
    client = make_client(timeout_s=1)

    sent = send_many(client, 1)
    counters = settled(client)

    # A machine that is slow itself may take more than the time for the second answer too.
    assert [asked.event_ids for asked in stub.asked[:2]] == [sent, sent]
    assert counters.accepted == 1
    assert counters.retries >= 1


def test_rejected_events_are_told_and_counted_and_never_sent_again(stub: Stub, make_client: MakeClient) -> None:
    def answer(asked: Asked) -> Answer:
        bad = [at for at, event in enumerate(asked.events) if event["level"] == "LOUD"]
        errors = [{"index": at, "eventId": None, "code": "unknown_level", "detail": "LOUD"} for at in bad]
        return Answer(207, {"accepted": len(asked.events) - len(bad), "failed": len(bad), "errors": errors})

    stub.answer = answer
    told: list[tuple[str, str]] = []
    client = make_client(
        linger_s=60, on_rejected=lambda event, rejection: told.append((event["message"], rejection.code))
    )

    for level in ("INFO", "LOUD", "INFO"):
        client.send_nowait(Event(f"at {level}", level=level))
    counters = settled(client)

    assert told == [("at LOUD", "unknown_level")]
    assert (counters.accepted, counters.rejected, counters.requests) == (2, {"unknown_level": 1}, 1)


def test_what_is_too_much_at_once_is_sent_in_parts(stub: Stub, make_client: MakeClient) -> None:
    stub.answer = lambda asked: Answer(413, {"code": "batch_exceeds_burst"}) if len(asked.events) > 3 else Answer()
    client = make_client()

    sent = send_many(client, 20)
    counters = settled(client)

    taken = [event_id for asked in stub.asked if len(asked.events) <= 3 for event_id in asked.event_ids]
    assert taken == sent
    assert counters.accepted == 20


def test_an_event_too_large_by_itself_is_rejected_and_the_others_go_on(stub: Stub, make_client: MakeClient) -> None:
    def answer(asked: Asked) -> Answer:
        is_large = any(len(event["message"]) > 100 for event in asked.events)
        return Answer(413, {"code": "body_too_large"}) if is_large else Answer()

    stub.answer = answer
    client = make_client()

    send_many(client, 5)
    client.send_nowait(Event("x" * 200))
    send_many(client, 5)
    counters = settled(client)

    assert (counters.accepted, counters.rejected) == (10, {"body_too_large": 1})


def test_over_the_buffers_bound_events_are_dropped_and_counted_and_the_caller_never_waits(
    stub: Stub, make_client: MakeClient
) -> None:
    stub.otherwise = REFUSED
    client = make_client(buffer_max_bytes=100_000)

    began_s = time.monotonic()
    taken = [client.send_nowait(Event("x" * 500)) for _ in range(1000)]
    took_s = time.monotonic() - began_s
    held = client.counters()
    stub.otherwise = Answer()
    counters = settled(client)

    assert held.buffered_bytes <= 100_000
    assert counters.dropped == {"buffer_full": taken.count(False)}
    assert counters.accepted == taken.count(True) > 0
    assert counters.taken == 1000
    assert took_s < 30


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, {"code": "revoked_key", "detail": "revoked"}), "revoked_key"),
        (Answer(400, b"<html>400 Bad Request</html>"), "not_forebay"),
    ],
    ids=["by Forebay", "by a proxy"],
)
def test_whoever_turns_the_caller_away_loses_no_event_and_is_told_of_once(
    stub: Stub, make_client: MakeClient, caplog: pytest.LogCaptureFixture, answer: Answer, said: str
) -> None:
    stub.otherwise = answer
    client = make_client()

    with caplog.at_level(logging.WARNING, "forebay_client"):
        send_many(client, 3)
        stub.wait_for(1)
        assert poll_until(lambda: said in caplog.text)

    assert not client.flush(0.1)
    assert (client.counters().buffered_events, client.counters().rejected) == (3, {})
    assert caplog.text.count(said) == 1


# --- the end


def test_close_sends_what_is_left(stub: Stub, make_client: MakeClient) -> None:
    client = make_client(linger_s=60)

    sent = send_many(client, 10)
    client.close(20)

    assert [event["eventId"] for event in stub.events] == sent
    assert not client.send_nowait(Event("late"))
    assert client.counters().dropped == {"after_close": 1}


def test_close_gives_up_in_time_and_counts_what_it_drops(stub: Stub, make_client: MakeClient) -> None:
    stub.otherwise = Answer(delay_s=20)
    client = make_client()
    send_many(client, 10)
    stub.wait_for(1)

    began_s = time.monotonic()
    client.close(0.2)

    assert time.monotonic() - began_s < 15
    assert client.counters().dropped == {"closed": 10}
    assert adds_up(client.counters())


def test_close_does_not_wait_for_a_time_that_lies_beyond_its_own(stub: Stub, make_client: MakeClient) -> None:
    stub.otherwise = Answer(503, {}, {"Retry-After": "60"})
    client = make_client()
    send_many(client, 10)
    stub.wait_for(1)

    began_s = time.monotonic()
    client.close(30)

    assert time.monotonic() - began_s < 15
    assert client.counters().dropped == {"closed": 10}


# --- acknowledged


def test_an_acknowledged_send_says_where_kafka_has_it(stub: Stub, make_client: MakeClient) -> None:
    event = Event("paid")

    result = make_client().send(event)

    assert result == Result(event.event_id, "Delivered", Place("t", 0, 0))
    assert stub.asked[0].path == "/api/logs/batch?delivery=ack"


def test_an_acknowledged_send_comes_again_with_the_same_id(stub: Stub, make_client: MakeClient) -> None:
    stub.script = [Answer(close=True), Answer(429, {"code": "quota_exceeded"}, {"Retry-After": "1"})]
    event = Event("paid")

    result = make_client().send(event)

    assert result.status == "Delivered"
    assert [asked.event_ids for asked in stub.asked] == [[event.event_id]] * 3
    assert stub.asked[2].at_s - stub.asked[1].at_s >= 1


def test_a_rejected_send_raises_with_the_code(stub: Stub, make_client: MakeClient) -> None:
    errors = [{"index": 0, "code": "unknown_level", "detail": "LOUD"}]
    stub.otherwise = Answer(400, {"code": "all_events_rejected", "errors": errors})

    with pytest.raises(Rejected, match="unknown_level: LOUD"):
        make_client().send(Event("m", level="LOUD"))


def test_a_send_that_nobody_answers_raises_within_its_time(make_client: MakeClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = make_client(url=f"http://127.0.0.1:{unused.getsockname()[1]}")

        began_s = time.monotonic()
        with pytest.raises(Unacknowledged, match="no_answer"):
            client.send(Event("m"), timeout_s=1)

    assert time.monotonic() - began_s < 15


def test_a_send_does_not_wait_longer_than_it_was_told_for_a_server_that_hangs(
    stub: Stub, make_client: MakeClient
) -> None:
    stub.otherwise = Answer(delay_s=30)
    client = make_client(timeout_s=60)

    began_s = time.monotonic()
    with pytest.raises(Unacknowledged, match="timed out"):
        client.send(Event("m"), timeout_s=0.5)

    assert time.monotonic() - began_s < 25


def test_a_batch_has_a_result_for_each_event_however_it_is_cut(stub: Stub, make_client: MakeClient) -> None:
    stub.answer = lambda asked: Answer(413, {"code": "too_many_events"}) if len(asked.events) > 300 else Answer()
    events = [Event(str(at)) for at in range(1500)]

    results = make_client().send_batch(events)

    assert [result.event_id for result in results] == [event.event_id for event in events]
    assert {result.status for result in results} == {"Delivered"}


def test_many_threads_send_at_once(stub: Stub, make_client: MakeClient) -> None:
    client, results = make_client(), list[Result]()

    def send() -> None:
        results.extend(client.send(Event("m")) for _ in range(20))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.status for result in results] == ["Delivered"] * 160
    assert len({result.event_id for result in results}) == 160


# --- options


@pytest.mark.parametrize(
    "options",
    [
        {"url": "localhost:8000"},
        {"source": ""},
        {"compression": "lz4"},
        {"key": "a\nb"},
        {"delivery": "soon"},
        {"batch_max_events": 0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_wrong_option_is_told_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Client(**{"url": "http://127.0.0.1:1", "key": "k", "source": "s", **options})


def test_url_and_key_come_from_the_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_URL", stub.url)
    monkeypatch.setenv("FOREBAY_KEY", "fb_of_the_environment")

    with Client(source="shop") as client:
        client.send(Event("m"))

    assert stub.asked[0].headers["authorization"] == "Bearer fb_of_the_environment"
