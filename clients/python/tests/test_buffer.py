"""What waits in memory: its sums stay right, whoever puts an event at whatever moment."""

from __future__ import annotations

import json
import logging
import sys
import threading
import tracemalloc
from types import FrameType
from typing import Any, Callable

import pytest

from forebay_client.buffer import EVENT_BYTES, Buffer, Event, Limits, Queue, Tracked
from forebay_client.events import Encoder, new_event_id
from forebay_client.ledger import Ledger
from forebay_client.load import Load
from forebay_client.records import Snapshot, SnapshotEncoder, snapshot


def tracked(data: bytes) -> Tracked:
    return Tracked.made(data, "id", lambda result: None)


def interrupted(
    function: Callable[[], object], at_step: int, handler: Callable[[], object], step: str = "opcode"
) -> bool:
    """Runs the function, and the handler before its step of that number: a bytecode or a call.

    So does a signal handler that logs, or a destructor: Python 3.9 lets them run at any bytecode, later ones at calls.
    Whether the function had so many steps.
    """
    left = at_step

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == step:
            left -= 1
            if left == -1:
                handler()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return left < 0


def buffer_of(limits: Limits) -> Buffer:
    return Buffer(limits, SnapshotEncoder(Encoder("shop", "host-1")).encode, lambda event, reason: None, lambda: None)


def record(message: str, **fields: Any) -> Snapshot:
    return snapshot(logging.makeLogRecord({"msg": message, "levelno": 20, **fields}))


def take_all(buffer: Buffer, queue: Queue) -> list[Event]:
    taken: list[Event] = []
    with buffer.changed:
        while queue:
            events = buffer.take(queue)
            buffer.settle(events)
            taken += events
    return taken


def put(buffer: Buffer) -> None:
    buffer.put(b"outer")


def take_and_settle(buffer: Buffer) -> None:
    with buffer.changed:
        buffer.settle(buffer.take(buffer.plain))


def put_back(buffer: Buffer) -> None:
    with buffer.changed:
        buffer.put_back(buffer.take(buffer.plain))


def encode_and_settle(buffer: Buffer) -> None:
    with buffer.changed:
        events = buffer.take(buffer.plain)
    buffer.encode(events)
    with buffer.changed:
        buffer.settle(events)


@pytest.mark.parametrize("change", [put, take_and_settle, put_back, encode_and_settle])
def test_an_event_that_a_signal_handler_puts_is_in_every_sum(change: Callable[[Buffer], None]) -> None:
    at_step = 0
    while True:
        buffer = buffer_of(Limits(batch_max_events=2, linger_s=0))
        for _ in range(3):
            buffer.put(record("before"))

        was_interrupted = interrupted(lambda: change(buffer), at_step, lambda: buffer.put(b"by the handler"))  # noqa: B023
        if not was_interrupted:
            break
        waiting, taken = buffer.ready_in_s(), take_all(buffer, buffer.plain)

        assert waiting == 0
        assert taken.count(b"by the handler") == 1
        assert (buffer.ready_in_s(), buffer.held_bytes, buffer.events) == (None, 0, 0), f"at step {at_step}"
        assert buffer.settled == 4 + (change is put)
        at_step += 1
    assert at_step > 20


def test_what_is_settled_is_known_by_its_place_and_not_by_how_much_it_is() -> None:
    buffer = buffer_of(Limits(batch_max_events=2))
    for at in range(3):
        buffer.put(b"%d" % at)
        buffer.put(tracked(b"%d" % at))

    with buffer.changed:
        mark = buffer.mark()
        for _ in range(6):
            buffer.put(b"later")
        seen = []
        for queue in (buffer.plain, buffer.plain, buffer.plain, buffer.tracked, buffer.tracked):
            buffer.settle(buffer.take(queue))
            seen.append(buffer.has_settled(mark))

    assert seen == [False, False, False, False, True]


def test_what_was_put_back_is_older_than_what_was_sent_meanwhile() -> None:
    buffer = buffer_of(Limits(batch_max_events=2))
    for at in range(3):
        buffer.put(b"%d" % at)

    with buffer.changed:
        mark = buffer.mark()
        to_the_disk = buffer.take(buffer.plain)
        for _ in range(4):
            buffer.put(b"later")
        buffer.settle(buffer.take(buffer.plain))
        buffer.put_back(to_the_disk)
        is_settled_before = buffer.has_settled(mark)
        later = buffer.mark()
        again = buffer.take(buffer.plain)
        buffer.settle(again)

    assert not is_settled_before
    assert again == [b"0", b"1"]
    assert (buffer.has_settled(mark), buffer.has_settled(later)) == (True, False)
    assert take_all(buffer, buffer.plain) == [b"later"] * 3
    assert buffer.has_settled(later)


def test_what_is_put_back_wakes_whoever_found_nothing() -> None:
    buffer, looked, woken = buffer_of(Limits()), threading.Event(), list[bool]()
    buffer.put(b"to the disk")
    with buffer.changed:
        to_the_disk = buffer.take(buffer.plain)

    def wait() -> None:
        with buffer.changed:
            looked.set()
            woken.append(buffer.changed.wait(5))

    sender = threading.Thread(target=wait)
    sender.start()
    assert looked.wait(60)
    with buffer.changed:  # it waits: else it would hold this
        buffer.put_back(to_the_disk)
    sender.join()

    assert woken == [True]


def test_a_batch_in_parts_is_settled_when_all_of_them_are() -> None:
    buffer = buffer_of(Limits())
    for at in range(3):
        buffer.put(b"%d" % at)

    with buffer.changed:
        mark = buffer.mark()
        first, second = Load(buffer.take(buffer.plain)).halves()
        assert first.in_memory is not None
        assert second.in_memory is not None
        buffer.settle(second.in_memory)
        after_one = buffer.has_settled(mark)
        buffer.settle(first.in_memory)

    assert (after_one, buffer.has_settled(mark)) == (False, True)


def test_what_is_encoded_later_weighs_what_it_is_and_what_cannot_be_is_taken_out() -> None:
    buffer = buffer_of(Limits())
    for event in (b"bytes", record("first"), record("odd", created="yesterday"), record("last \u2603")):
        buffer.put(event)

    with buffer.changed:
        events = buffer.take(buffer.plain)
    buffer.encode(events)
    after_encoding = buffer.held_bytes, buffer.events
    with buffer.changed:
        buffer.put_back(events)
        again = buffer.take(buffer.plain)
    buffer.encode(again)
    with buffer.changed:
        buffer.settle(again)

    assert buffer.unencodable == 1
    assert again[0] == b"bytes"
    assert [json.loads(event)["message"] for event in again[1:]] == ["first", "last \u2603"]
    assert after_encoding == (sum(map(len, again)) + 3 * EVENT_BYTES, 3)
    assert (buffer.held_bytes, buffer.events, buffer.settled) == (0, 0, 4)


def test_close_beside_the_sending_thread_gives_no_event_a_second_id() -> None:
    has_begun, go_on = threading.Event(), threading.Event()

    def encode(event: Snapshot) -> bytes:
        has_begun.set()
        assert go_on.wait(60)
        return new_event_id(0).encode()

    buffer = Buffer(Limits(), encode, lambda event, reason: None, lambda: None)
    for at in range(3):
        buffer.put(record(str(at)))
    with buffer.changed:
        events = buffer.take(buffer.plain)
    seen: list[list[Any]] = []

    def encode_beside_the_other() -> None:
        buffer.encode(events)
        seen.append(list(events))

    threads = [threading.Thread(target=encode_beside_the_other) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert has_begun.wait(60)
    go_on.set()
    for thread in threads:
        thread.join()
    with buffer.changed:
        buffer.settle(events)

    assert seen[0] == seen[1]
    assert {type(event) for event in events} == {bytes}
    assert buffer.held_bytes == 0


@pytest.mark.parametrize(
    ("message", "extra"),
    [
        ("order %d", {}),
        ("\u2603" * 100 + "%d", {}),
        ("\U0001f680" * 100 + "%d", {}),
        ("m %d", {"a": 1.5, "b": "x" * 300}),
        ("m %d", {"a": 1.5, "b": "\U0001f680" * 300}),
    ],
    ids=["short", "wide", "wider", "extra", "wide extra"],
)
def test_records_in_the_buffer_take_no_more_memory_than_its_bound(message: str, extra: dict[str, Any]) -> None:
    buffer = buffer_of(Limits(buffer_max_bytes=1 << 20))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    is_taken, at = True, 0
    while is_taken:
        at += 1
        logged = logging.LogRecord("shop", 20, "/srv/orders.py", 1000 + at, message, (at,), None)
        vars(logged).update({name: value * 2 for name, value in extra.items()})
        is_taken = buffer.put(snapshot(logged))
    del logged
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert at > 100
    assert taken <= 1 << 20


def test_an_event_that_a_signal_handler_loses_is_counted_beside_the_one_that_it_interrupts() -> None:
    at_call = 0
    while True:
        ledger = Ledger(buffer_of(Limits()))

        was_interrupted = interrupted(
            lambda: ledger.dropped("closed", 2),  # noqa: B023
            at_call,
            lambda: ledger.turned_away("closed"),  # noqa: B023
            "call",
        )
        if not was_interrupted:
            break

        assert ledger.snapshot(None).dropped == {"closed": 3}
        at_call += 1
    assert at_call > 0
