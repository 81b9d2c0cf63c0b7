"""Events in memory between the application, which never waits, and the sender's threads: bounded in bytes.

Any thread. Whoever holds `changed` may call what says so; the others take it themselves. The lock may be taken again by
the thread that has it, in the middle of any method here: a signal handler or a destructor may log. So put() changes the
queues and one sum, nothing else, and no other method changes that sum around a call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Union

from forebay_client.records import Snapshot
from forebay_client.results import Callback

log = logging.getLogger("forebay_client")

# What Python needs for an event beside its bytes: the object's head, its place in the queue, perhaps a callback.
EVENT_BYTES = 128


class Tracked(bytes):
    """An encoded event of which somebody wants to hear what became of it."""

    event_id: str
    callback: Callback

    @classmethod
    def made(cls, data: bytes, event_id: str, callback: Callback) -> Tracked:
        tracked = cls(data)
        tracked.event_id, tracked.callback = event_id, callback
        return tracked


Event = Union[bytes, Snapshot]


class Taken(list[Any]):
    """Events that left their queue together, numbered as the first of them is; a part of them keeps that number.

    They are bytes once Buffer.encode() had them.
    """

    def __init__(self, events: Iterable[Event], number: int) -> None:
        super().__init__(events)
        self.number = number


class Queue(deque[Event]):
    """Events of one kind in the order of their puts, which numbers them, and which of those taken are not settled."""

    def __init__(self) -> None:
        super().__init__()
        self.next_number = 0
        """Of the first here that was never taken."""
        self.returned: deque[tuple[int, int]] = deque()
        """Number and length of each batch at the front that was taken before."""
        self.unsettled: dict[int, int] = {}
        """How many events of which batch."""

    @property
    def end(self) -> int:
        """The number of the next put."""
        return self.next_number + len(self) - sum(count for _, count in self.returned)

    @property
    def first_unsettled(self) -> int:
        return min(self.unsettled, default=self.next_number)


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

    def __init__(
        self,
        limits: Limits,
        encode: Callable[[Snapshot], bytes],
        refuse: Callable[[Event, str], None],
        serve: Callable[[], None],
    ) -> None:
        """`refuse` hears of each event not taken, and why; put() calls `serve` until `is_served` is set."""
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        self._encode, self._encoding = encode, threading.Lock()
        self._refuse, self._serve = refuse, serve
        self.limits = limits
        # Its own, and not the tuple's: put() is what the application pays for.
        self._max_bytes, self._batch_events, self._batch_bytes = limits[:3]
        self.plain, self.tracked = Queue(), Queue()
        self.is_closed = self.is_served = False
        self.settled = self.unencodable = 0
        self._queued_bytes = 0
        self._on_the_way_events = self._on_the_way_bytes = 0
        self._ready_at_s = 0.0

    def put(self, event: Event) -> bool:
        """Whether it was taken. Wakes the sender for the first event and a full batch, not for all."""
        size = (event[0] if type(event) is tuple else len(event)) + EVENT_BYTES
        with self._lock:
            if self._queued_bytes + self._on_the_way_bytes + size > self._max_bytes or self.is_closed:
                refusal = "after_close" if self.is_closed else "buffer_full"
            else:
                refusal = ""
                queue = self.tracked if type(event) is Tracked else self.plain
                is_first = not self.plain and not self.tracked
                queue.append(event)
                self._queued_bytes += size
                if is_first:
                    self._ready_at_s = time.monotonic() + self.limits.linger_s
                    self.changed.notify_all()
                queued_bytes = self._queued_bytes
                if queued_bytes - size < self._batch_bytes <= queued_bytes or len(queue) == self._batch_events:
                    self.changed.notify_all()
        if refusal:
            self._refuse(event, refusal)
            return False
        if not self.is_served:
            self._serve()
        return True

    @property
    def events(self) -> int:
        """Until they are settled: those on their way count."""
        return len(self.plain) + len(self.tracked) + self._on_the_way_events

    @property
    def held_bytes(self) -> int:
        """Of `events`, with Python's own share."""
        return self._queued_bytes + self._on_the_way_bytes

    @property
    def is_half_full(self) -> bool:
        return 2 * self.held_bytes > self.limits.buffer_max_bytes

    def ready_in_s(self) -> float | None:
        """Holding `changed`: when a batch should leave; None when nothing is queued."""
        limits = self.limits
        if not self.plain and not self.tracked:
            return None
        if self._queued_bytes >= limits.batch_max_bytes:
            return 0.0
        if max(len(self.plain), len(self.tracked)) >= limits.batch_max_events:
            return 0.0
        return max(0.0, self._ready_at_s - time.monotonic())

    def take(self, queue: Queue) -> Taken:
        """Holding `changed`: the next batch of one of the queues; its events count until they are settled."""
        is_again = bool(queue.returned)
        number, most_events = (
            queue.returned.popleft() if is_again else (queue.next_number, self.limits.batch_max_events)
        )
        events, room = Taken((), number), self.limits.batch_max_bytes
        while queue and len(events) < most_events and (not events or room >= _size_of(queue[0])):
            room -= _size_of(queue[0])
            events.append(queue.popleft())
        if events and not is_again:
            queue.unsettled[number] = len(events)
            queue.next_number += len(events)
        self._took(len(events), _size(events))
        return events

    def encode(self, events: Taken) -> None:
        """Not holding `changed`: makes bytes of snapshots; what raises is counted, settled and taken out.

        There may be none left then.
        """
        failed, error, grown_bytes = Taken((), events.number), None, 0
        with self._encoding:  # close() may come to it beside the sending thread
            for at, event in enumerate(events):
                if type(event) is tuple:
                    try:
                        events[at] = data = self._encode(event)
                        grown_bytes += len(data) - _size_of(event)
                    except Exception as raised:  # noqa: BLE001 - told below, when nobody waits for this any more
                        failed.append(event)
                        error = raised
            if failed:
                events[:] = [event for event in events if isinstance(event, bytes)]
            with self.changed:
                self._on_the_way_bytes += grown_bytes
                if failed:
                    self.unencodable += len(failed)
                    self.settle(failed)
        if failed:
            log.error("%d events cannot be encoded, the last one for this:", len(failed), exc_info=error)

    def take_all(self) -> list[Taken]:
        """Holding `changed`: in batches."""
        taken = []
        for queue in (self.plain, self.tracked):
            while queue:
                taken.append(self.take(queue))
        return taken

    def put_back(self, events: Taken) -> None:
        """Holding `changed`: what was taken from `plain` and could not go anywhere."""
        self.plain.extendleft(reversed(events))
        self.plain.returned.appendleft((events.number, len(events)))
        self._took(-len(events), -_size(events))
        self.changed.notify_all()

    def mark(self) -> tuple[int, int]:
        """Holding `changed`: stands for all that was put until now."""
        return self.plain.end, self.tracked.end

    def has_settled(self, mark: tuple[int, int]) -> bool:
        """Holding `changed`: whether nothing before the mark is waiting or on its way."""
        return self.plain.first_unsettled >= mark[0] and self.tracked.first_unsettled >= mark[1]

    def settle(self, events: Taken) -> None:
        """Holding `changed`: they are answered, on the disk or given up."""
        unsettled = (self.tracked if isinstance(events[0], Tracked) else self.plain).unsettled
        unsettled[events.number] -= len(events)
        if not unsettled[events.number]:
            del unsettled[events.number]
        self._on_the_way_events -= len(events)
        self._on_the_way_bytes -= _size(events)
        self.settled += len(events)
        self.changed.notify_all()

    def _took(self, count: int, size: int) -> None:
        self._on_the_way_events += count
        self._on_the_way_bytes += size
        # Python 3.9 lets a signal handler run within a +=, which then undoes the handler's: empty queues begin anew.
        self._queued_bytes = self._queued_bytes - size if self.plain or self.tracked else 0


def _size_of(event: Event) -> int:
    return event[0] if type(event) is tuple else len(event)


def _size(events: Taken) -> int:
    return sum(map(_size_of, events)) + EVENT_BYTES * len(events)
