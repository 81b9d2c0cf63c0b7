"""What waits in memory: its sums stay right, whoever puts an event at whatever moment."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any, Callable

import pytest

from forebay_client.buffer import Buffer, Limits, Queue, Tracked
from forebay_client.ledger import Ledger
from forebay_client.load import Load


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


def take_all(buffer: Buffer, queue: Queue) -> list[bytes]:
    taken: list[bytes] = []
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


@pytest.mark.parametrize("change", [put, take_and_settle, put_back])
def test_an_event_that_a_signal_handler_puts_is_in_every_sum(change: Callable[[Buffer], None]) -> None:
    at_step = 0
    while True:
        buffer = Buffer(Limits(batch_max_events=2, linger_s=0))
        for _ in range(3):
            buffer.put(b"before")

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
    buffer = Buffer(Limits(batch_max_events=2))
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
    buffer = Buffer(Limits(batch_max_events=2))
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
    buffer, looked, woken = Buffer(Limits()), threading.Event(), list[bool]()
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
    buffer = Buffer(Limits())
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


def test_an_event_that_a_signal_handler_loses_is_counted_beside_the_one_that_it_interrupts() -> None:
    at_call = 0
    while True:
        ledger = Ledger(Buffer(Limits()))

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
