"""Each callback hears once what became of its event, before flush() returns."""

from __future__ import annotations

import threading

import pytest
from conftest import MakeClient
from stub import REFUSED, Answer, Asked, Stub
from test_client import send_many, settled

from forebay_client import Event, Result


def test_each_callback_is_called_once_with_the_place(stub: Stub, make_client: MakeClient) -> None:
    client, told = make_client(), list[Result]()
    events = [Event(str(at)) for at in range(50)]

    for event in events:
        client.send_callback(event, told.append)
        client.send_nowait(Event("beside it"))
    counters = settled(client)

    assert [result.event_id for result in told] == [event.event_id for event in events]
    assert {(result.status, result.place.topic) for result in told if result.place} == {("Delivered", "t")}
    assert counters.accepted == 100
    asked = {asked.path.partition("?")[2]: asked for asked in stub.asked}
    assert set(asked) == {"", "delivery=ack"}


def test_a_callback_that_raises_stops_nothing(
    stub: Stub, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(result: Result) -> None:
        raise RuntimeError(result.status)

    client = make_client()

    client.send_callback(Event("m"), fail)
    client.send_nowait(Event("n"))
    counters = settled(client)

    assert (counters.accepted, counters.callback_errors) == (2, 1)
    assert "a callback of the application failed" in caplog.text


def test_a_callback_hears_of_what_is_dropped(stub: Stub, make_client: MakeClient) -> None:
    stub.otherwise = REFUSED
    client, told = make_client(buffer_max_bytes=2_000), list[Result]()

    client.send_callback(Event("kept"), told.append)
    client.send_callback(Event("x" * 5_000), told.append)
    stub.wait_for(1)
    client.close(0)

    assert [(result.status, result.code) for result in told] == [("Dropped", "buffer_full"), ("Dropped", "closed")]


def test_flush_waits_for_the_events_before_it_and_not_for_as_many_others(stub: Stub, make_client: MakeClient) -> None:
    all_put, flushed, was_flushed = threading.Event(), threading.Event(), list[bool]()

    def answer(asked: Asked) -> Answer:
        all_put.wait(60)
        if asked.path.endswith("delivery=ack"):
            send_many(client, 10, "later")
            if len(asked.events) < 10:  # the last of those before: a flush that does not wait for them has its chance
                was_flushed.append(flushed.wait(0.5))
        return Answer()

    stub.answer = answer
    client, told = make_client(batch_max_events=10), list[Result]()
    for at in range(25):
        client.send_callback(Event(str(at)), told.append)
    all_put.set()

    assert client.flush(60)
    flushed.set()

    assert was_flushed == [False]
    assert len(told) == 25
