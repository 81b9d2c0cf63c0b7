"""A topic as a worker sees it, a (tenant, topic) in it, and what of that waits in which journal.

Data plane. The lane lock guards all of it but what the poll thread alone writes, which each class names.
"""

import heapq
import threading
from array import array
from collections import deque
from typing import Any, NamedTuple

from ingest.dataplane.breaker import Breaker
from ingest.dataplane.journal import Journal

# Calls of a topic that may be outstanding before those are looked for that have ended behind one that has not.
LOOK_AT_CALLS = 1_000


class Parked(NamedTuple):
    """Why a flow waits for an operator, and since when."""

    code: str
    detail: str
    since_wall_ms: int


class Line:
    """One topic. The poll thread alone writes `done_bytes`, `last_success_s` and `overdue_s`, and takes from
    `outstanding`.

    `trial_epoch`: the epoch of the cluster's breaker in which a trial of this topic is out. `instance` counts those of
    librdkafka. `overdue_s`: when an overdue call was last counted."""

    __slots__ = (
        "_forgetting",
        "_forgotten_bytes",
        "_look_at",
        "breaker",
        "done_bytes",
        "handed_bytes",
        "instance",
        "last_success_s",
        "outstanding",
        "overdue_s",
        "topic",
        "trial_epoch",
    )

    def __init__(self, topic: str, breaker: Breaker) -> None:
        self.topic, self.breaker = topic, breaker
        self.handed_bytes = self.done_bytes = self._forgotten_bytes = self.instance = 0
        self._forgetting = threading.Lock()
        self.last_success_s = self.overdue_s = float("-inf")
        self.trial_epoch = -1
        self._look_at = LOOK_AT_CALLS
        # Of InFlight, which knows its flow and so cannot be named here.
        self.outstanding: deque[Any] = deque()

    @property
    def in_flight_bytes(self) -> int:
        """In librdkafka's hands."""
        return self.handed_bytes - self.done_bytes + self._forgotten_bytes

    def forget_ended(self) -> None:
        """Let calls go that have ended, so that one without a report does not keep all that came after it. On the poll
        thread; others may append meanwhile, at the other end."""
        outstanding = self.outstanding
        while outstanding and (outstanding[0].is_settled or outstanding[0].is_abandoned):
            outstanding.popleft()
        if len(outstanding) > self._look_at:
            taken = [outstanding.popleft() for _ in range(len(outstanding))]
            outstanding.extendleft(call for call in reversed(taken) if not call.has_ended)
            self._look_at = 2 * len(outstanding) + LOOK_AT_CALLS

    def trial_ended(self, cluster_epoch: int) -> None:
        """A call that began then has ended: another may try."""
        if self.trial_epoch == cluster_epoch:
            self.trial_epoch = -1

    def forget(self, size_bytes: int, instance: int) -> None:
        """What is not journaled is handed over, or, less than nothing, reported. Any thread: a producer that was
        replaced reports on one of its own, and what it has not reported weighs on no other."""
        with self._forgetting:
            if instance == self.instance:
                self._forgotten_bytes += size_bytes

    def begin_instance(self) -> None:
        """Of what is not journaled nothing is in librdkafka's hands any more. Under the lane lock."""
        with self._forgetting:
            self.instance += 1
            self._forgotten_bytes = 0


class Trial(NamedTuple):
    """A call that is not journaled, which a breaker waits to hear of: its topic, and when it began."""

    line: Line
    cluster_epoch: int
    topic_epoch: int


class Waiting:
    """What of one journal waits, by the sequence of its ACCEPT: eight bytes each, in order; what came back first."""

    __slots__ = ("_head", "_returned", "_sequences", "journal")

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._sequences, self._head = array("Q"), 0
        self._returned: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._returned) or self._head < len(self._sequences)

    def append(self, sequence: int) -> None:
        """Newer than all that wait."""
        self._sequences.append(sequence)

    def put_back(self, sequence: int) -> None:
        """It was taken, and waits again."""
        heapq.heappush(self._returned, sequence)

    def first(self) -> int:
        """The oldest."""
        if self._head == len(self._sequences) or (self._returned and self._returned[0] < self._sequences[self._head]):
            return self._returned[0]
        return self._sequences[self._head]

    def pop(self) -> None:
        """The oldest has left."""
        if self._returned and self._returned[0] == self.first():
            heapq.heappop(self._returned)
            return
        self._head += 1
        if self._head > 4096 and self._head * 2 > len(self._sequences):
            del self._sequences[: self._head]
            self._head = 0


class Flow:
    """One tenant's events for one topic; `pending` of them wait. The poll thread alone writes `done`.

    `must_settle`: records have come back, so nothing may follow before all that is in flight has been reported."""

    __slots__ = (
        "done",
        "handed",
        "is_behind",
        "line",
        "must_settle",
        "not_before_s",
        "parked",
        "pending",
        "tenant",
        "topic",
        "waiting",
    )

    def __init__(self, tenant: str, line: Line) -> None:
        self.tenant, self.line, self.topic = tenant, line, line.topic
        self.handed = self.done = self.pending = 0
        self.is_behind = self.must_settle = False
        self.not_before_s = 0.0
        self.parked: Parked | None = None
        self.waiting: list[Waiting] = []

    def first(self) -> Waiting | None:
        """Where the oldest of it waits: what dead workers left comes before this worker's own."""
        while self.waiting and not self.waiting[0]:
            self.waiting.pop(0)
        return self.waiting[0] if self.waiting else None
