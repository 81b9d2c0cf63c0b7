"""What waits in memory: its sums stay right, whoever puts an event at whatever moment."""

from __future__ import annotations

import sys
from collections import deque
from types import FrameType
from typing import Any, Callable

import pytest

from forebay_client.buffer import Buffer, Limits, Tracked
from forebay_client.ledger import Ledger


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


def take_all(buffer: Buffer, queue: deque[bytes]) -> list[bytes]:
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
