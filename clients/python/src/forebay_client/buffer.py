"""Events in memory between the application, which never waits, and the sender's threads: bounded in bytes.

Any thread. The lock may be taken again by the thread that has it: a signal handler or a destructor may log. Whoever
holds `changed` may call what says so; the others take it themselves.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

from forebay_client.results import Callback

# What Python needs for an event beside its bytes: the object's head, the Item, its place in the queue.
ITEM_BYTES = 160


class Item(NamedTuple):
    """An encoded event, and whom to tell what became of it."""

    data: bytes
    event_id: str = ""
    callback: Callback | None = None


class Limits(NamedTuple):
    """How much waits, and how much leaves at once."""

    buffer_max_bytes: int = 16 << 20
    batch_max_events: int = 500
    batch_max_bytes: int = 1 << 20
    linger_s: float = 0.2
    """How long an event waits for others, so that they leave together."""
    exit_timeout_s: float = 5.0
    """How long the end of the process may wait for what is not sent yet."""


class Buffer:
    """Two queues under one bound: events nobody waits for, and events with a callback, which are sent with an ack."""

    def __init__(self, limits: Limits) -> None:
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        self.limits = limits
        self.plain: deque[Item] = deque()
        self.tracked: deque[Item] = deque()
        self.is_closed = False
        self.bytes = self.events = 0
        """Until they are settled: those on their way count."""
        self.settled = 0
        self._queued_bytes = 0
        self._ready_at_s = 0.0

    def put(self, item: Item) -> str:
        """Why it was not taken; empty if it was. Wakes the sender for the first event and a full batch, not for all."""
        size, limits = len(item.data) + ITEM_BYTES, self.limits
        with self._lock:
            if self.is_closed:
                return "after_close"
            if self.bytes + size > limits.buffer_max_bytes:
                return "buffer_full"
            queue = self.plain if item.callback is None else self.tracked
            if not self._queued_bytes:
                self._ready_at_s = time.monotonic() + limits.linger_s
                self.changed.notify_all()
            queue.append(item)
            self.events += 1
            self.bytes += size
            self._queued_bytes += size
            fills_up = self._queued_bytes - size < limits.batch_max_bytes <= self._queued_bytes
            if fills_up or len(queue) == limits.batch_max_events:
                self.changed.notify_all()
        return ""

    @property
    def is_half_full(self) -> bool:
        return 2 * self.bytes > self.limits.buffer_max_bytes

    def ready_in_s(self) -> float | None:
        """Holding `changed`: when a batch should leave; None when nothing is queued."""
        limits = self.limits
        if not self._queued_bytes:
            return None
        if self._queued_bytes >= limits.batch_max_bytes:
            return 0.0
        if max(len(self.plain), len(self.tracked)) >= limits.batch_max_events:
            return 0.0
        return max(0.0, self._ready_at_s - time.monotonic())

    def take(self, queue: deque[Item]) -> list[Item]:
        """Holding `changed`: the next batch of one of the queues; its items count until they are settled."""
        items: list[Item] = []
        room = self.limits.batch_max_bytes
        while queue and len(items) < self.limits.batch_max_events and (not items or room >= len(queue[0].data)):
            room -= len(queue[0].data)
            items.append(queue.popleft())
        self._queued_bytes -= _size(items)
        return items

    def take_all(self) -> list[Item]:
        """Holding `changed`."""
        items = [*self.plain, *self.tracked]
        self.plain.clear()
        self.tracked.clear()
        self._queued_bytes = 0
        return items

    def put_back(self, items: list[Item]) -> None:
        """Holding `changed`: what was taken from `plain` and could not go anywhere."""
        self.plain.extendleft(reversed(items))
        self._queued_bytes += _size(items)

    def settle(self, items: list[Item]) -> None:
        """Holding `changed`: they are answered, on the disk or given up."""
        self.events -= len(items)
        self.settled += len(items)
        self.bytes -= _size(items)
        self.changed.notify_all()


def _size(items: list[Item]) -> int:
    return sum(len(item.data) + ITEM_BYTES for item in items)
