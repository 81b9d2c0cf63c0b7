"""Lines that are served in turn: however long one is, each other is served as often.

Data plane; used by one thread. What is in it has a time before which it is not served.
"""

from collections import deque
from collections.abc import Callable, Hashable
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar


class Due(Protocol):
    due_s: float


T = TypeVar("T", bound=Due)


class Served(Enum):
    """DONE: it is gone. ALONE_LATER: it waits, and nobody else does. ALL_LATER: so does all of its line."""

    DONE = auto()
    ALONE_LATER = auto()
    ALL_LATER = auto()


class _Line(Generic[T]):
    """Queues in the order in which they are served; each in the order in which its head is due."""

    __slots__ = ("not_before_s", "queues")

    def __init__(self, queues: int) -> None:
        self.queues: tuple[deque[T], ...] = tuple(deque() for _ in range(queues))
        self.not_before_s = 0.0

    def __len__(self) -> int:
        return sum(map(len, self.queues))

    def due(self, now_s: float) -> "deque[T] | None":
        if self.not_before_s > now_s:
            return None
        return next((queue for queue in self.queues if queue and queue[0].due_s <= now_s), None)


class Turns(Generic[T]):
    """Lines by whose they are. Each has `kinds` queues, and one more for what is to be served again `later_s` later."""

    def __init__(self, kinds: int, later_s: float) -> None:
        self._kinds, self._later_s = kinds, later_s
        self._lines: dict[Hashable, _Line[T]] = {}
        self._order: deque[Hashable] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def put(self, whose: Hashable, kind: int, one: T) -> None:
        """At the end. What is put into one queue is due in the order of its putting."""
        line = self._lines.get(whose)
        if line is None:
            line = self._lines[whose] = _Line(self._kinds + 1)
            self._order.append(whose)
        line.queues[kind].append(one)

    def serve(self, most: int, now_s: float, deal_with: Callable[[T], Served]) -> None:
        """One of each line after the other, until that were `most`, or nothing is due. The next time begins behind."""
        passed = 0
        while most and passed < len(self._order):
            whose = self._order[0]
            line = self._lines[whose]
            queue = line.due(now_s)
            if queue is None:
                passed += 1
            else:
                passed, most = 0, most - 1
                self._serve(line, queue, now_s, deal_with)
            self._order.rotate(-1)
            if not line:
                self._order.pop()
                del self._lines[whose]

    def _serve(self, line: _Line[T], queue: deque[T], now_s: float, deal_with: Callable[[T], Served]) -> None:
        one = queue.popleft()
        served = deal_with(one)
        if served is Served.ALL_LATER:
            queue.appendleft(one)
            line.not_before_s = now_s + self._later_s
        elif served is Served.ALONE_LATER:
            one.due_s = now_s + self._later_s
            line.queues[-1].append(one)
