"""Requests that wait for Kafka's acknowledgement, and how many may.

Data plane. The poll thread reports, the request's own thread waits, outside of the lane lock. The budget keeps waiting
senders from taking the threads of everybody else.
"""

import threading
from collections import Counter
from typing import NamedTuple

from confluent_kafka import KafkaError


class Place(NamedTuple):
    """Where an acknowledged record is."""

    topic: str
    partition: int
    offset: int


Result = Place | KafkaError


class Acknowledgements:
    """What Kafka said of each record of a request that waits. `results` by index: a Place in Kafka or a KafkaError.

    The producing thread and the poll threads report an index once: as refused only what was refused by itself.
    """

    def __init__(self, expected: int) -> None:
        self.results: dict[int, Result] = {}
        self._answered: dict[int, Result] | None = None
        self._expected = expected
        self._complete = threading.Event()
        self._lock = threading.Lock()

    def report(self, index: int, result: Result) -> None:
        """What became of one record."""
        self.results[index] = result
        self._look()

    def forgo(self, count: int) -> None:
        """So many records will be produced later, by the drain: they are not waited for. On the producing thread."""
        self._expected -= count
        self._look()

    @property
    def is_complete(self) -> bool:
        """Whether everything that is waited for has been reported."""
        return self._complete.is_set()

    def wait(self, timeout_s: float) -> dict[int, Result]:
        """Block until every record has been reported or the time is over. What is returned is what the sender is told;
        records reported later go their usual way."""
        self._complete.wait(timeout_s)
        with self._lock:
            self._answered = dict(self.results)
        return self._answered

    def tells(self, index: int) -> bool:
        """Whether the sender has been, or surely will be, told what became of a record."""
        with self._lock:
            return index in (self.results if self._answered is None else self._answered)

    def _look(self) -> None:
        if len(self.results) >= self._expected:
            self._complete.set()


class AckBudget:
    """At most half of a worker's threads wait, and a quarter of them for one tenant. Thread-safe, never blocks."""

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads // 2)
        self._most_of_tenant = max(1, threads // 4)
        self._waiting: Counter[str] = Counter()
        self._total = 0
        self._lock = threading.Lock()

    def take(self, tenant: str) -> bool:
        """Whether one more request of this tenant may wait; if so, `give_back` is owed."""
        with self._lock:
            if self._total >= self._most or self._waiting[tenant] >= self._most_of_tenant:
                return False
            self._total += 1
            self._waiting[tenant] += 1
            return True

    def give_back(self, tenant: str) -> None:
        """The wait is over."""
        with self._lock:
            self._total -= 1
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]
