"""What becomes of records in librdkafka's hands: delivery reports in, settled or released records out.

Data plane. Reports and settlements run on the poll thread alone; the lane and the drain make the objects and produce.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from ingest.dataplane import metrics
from ingest.dataplane.acks import Acknowledgements, Place
from ingest.dataplane.faults import Fault, fault_of
from ingest.dataplane.journal import Journal, Range
from ingest.dataplane.segments import HELD, Record, Segment

Origin = tuple[Journal, Segment, int, int]
"""Journal, segment, the ACCEPT's first byte in it, its first sequence."""


class InFlight:
    """The records of one request for one topic, settled together when the last report is in.

    The producing thread alone writes `expected`, the poll thread alone `reported`: no lock, no lost count.
    """

    __slots__ = (
        "acknowledgements",
        "at",
        "completed",
        "completed_s",
        "expected",
        "failures",
        "indexes",
        "is_settled",
        "journal",
        "produced_s",
        "reported",
        "segment",
        "sequence",
        "tenant",
        "topic",
    )

    def __init__(
        self,
        completed: "deque[InFlight]",
        origin: Origin,
        tenant: str,
        topic: str,
        indexes: Sequence[int],
        acknowledgements: Acknowledgements | None = None,
    ) -> None:
        self.completed = completed
        self.journal, self.segment, self.at, self.sequence = origin
        self.tenant, self.topic, self.indexes = tenant, topic, indexes
        self.expected, self.reported, self.is_settled = len(indexes), 0, False
        self.produced_s = self.completed_s = time.monotonic()
        self.failures: list[tuple[KafkaError, bytes | None, int | None]] = []
        self.acknowledgements = acknowledgements

    def produce(self, produce: Callable[..., None], records: list[Record], accepted_wall_ms: int) -> Sequence[int]:
        """Hand the records over in order; returns the indexes that librdkafka's queue had no room for. A record's own
        timestamp is when it was accepted, however much later it is produced."""
        topic, report, waiting, done = self.topic, self.report, self.acknowledgements, 0
        chosen = records if len(records) == len(self.indexes) else [records[index] for index in self.indexes]
        for done, (_, partition, key, value) in enumerate(chosen):
            if waiting is not None:
                report = partial(self._report_indexed, self.indexes[done])
            try:
                # No key is None: an empty one is hashed like any other, and all would go to one partition.
                produce(topic, value, key or None, partition, report, accepted_wall_ms)
            except BufferError:
                return self._keep_first(done)
            except KafkaException as error:
                self._fail(self.indexes[done], error.args[0])
        if self.expected < len(chosen):
            self.completed.append(self)
        return ()

    def _fail(self, index: int, error: KafkaError) -> None:
        """A record that produce() itself refused, for which no report will come."""
        self.failures.append((error, None, index))
        self.expected -= 1
        if self.acknowledgements is not None:
            self.acknowledgements.report(index, error)

    def _keep_first(self, count: int) -> Sequence[int]:
        left = self.indexes[count:]
        self.indexes = self.indexes[:count]
        self.expected -= len(left)
        if self.acknowledgements is not None:
            self.acknowledgements.forgo(len(left))
        # The poll thread may have seen the last report already: let it look.
        self.completed.append(self)
        return left

    def report(self, error: KafkaError | None, message: Message) -> None:
        """The delivery report of one record: the hottest callback there is."""
        if error is not None:
            self.failures.append((error, message.value(), None))
        self.reported += 1
        if self.reported == self.expected:
            self.completed_s = time.monotonic()
            self.completed.append(self)

    def _report_indexed(self, index: int, error: KafkaError | None, message: Message) -> None:
        """The same for a request that waits: it must know which record the report is about."""
        if error is not None:
            self.failures.append((error, None, index))
        self.reported += 1
        if self.acknowledgements is not None:
            place = Place(message.topic() or "", message.partition() or 0, message.offset() or 0)
            self.acknowledgements.report(index, place if error is None else error)
        if self.reported == self.expected:
            self.completed_s = time.monotonic()
            self.completed.append(self)

    def failed_indexes(self) -> dict[int, KafkaError]:
        """Which records failed. A report does not say which record it is about, so the failed values are looked up in
        the journal; among equal values any will do."""
        failed = {index: error for error, _, index in self.failures if index is not None}
        missing = Counter(value for _, value, index in self.failures if index is None)
        if missing:
            errors = {value: error for error, value, _ in self.failures}
            records: list[Record] = self.journal.read(self.segment, self.at).records
            for index in self.indexes:
                value = records[index][3]
                if missing[value] and index not in failed:
                    missing[value] -= 1
                    failed[index] = errors[value]
        return failed


class Settlements:
    """Collects what is complete and, every 50 ms, settles or releases it."""

    def __init__(self, release: Callable[[InFlight, list[int]], None], *, interval_s: float = 0.05) -> None:
        self.completed: deque[InFlight] = deque()
        self._release = release
        self._interval_s = interval_s
        self._next_s = 0.0

    def settle_if_due(self, now_s: float) -> None:
        """On the poll thread, often."""
        if now_s >= self._next_s:
            self._next_s = now_s + self._interval_s
            self.settle_all()

    def settle_all(self) -> None:
        """Settle everything that is complete."""
        settled: dict[Journal, list[Range]] = {}
        delivered: Counter[str] = Counter()
        while self.completed:
            in_flight = self.completed.popleft()
            if in_flight.is_settled or in_flight.reported < in_flight.expected or not in_flight.indexes:
                continue
            in_flight.is_settled = True
            ranges = settled.setdefault(in_flight.journal, [])
            if in_flight.failures:
                failed = self._failed(in_flight)
            else:
                failed = {}
                metrics.delivered(in_flight.topic)[1].observe(in_flight.completed_s - in_flight.produced_s)
            ranges.extend(_ranges(in_flight, failed))
            delivered[in_flight.topic] += len(in_flight.indexes) - len(failed)
        for journal, ranges in settled.items():
            late = sum(size for _, _, size in ranges) - journal.settle(ranges)
            if late:
                metrics.LATE_REPORTS.inc(late)
        for topic, count in delivered.items():
            metrics.delivered(topic)[0].inc(count)

    def _failed(self, in_flight: InFlight) -> dict[int, KafkaError]:
        """Failed records go back to the backlog; those Kafka will never take are told to a waiting sender, or held."""
        failed = in_flight.failed_indexes()
        for (fault, code), count in Counter((fault_of(e.code()), e.name()) for e in failed.values()).items():
            metrics.DELIVERY_ERRORS.labels(fault, code).inc(count)
        waiting = in_flight.acknowledgements
        back, held = [], 0
        for index, error in failed.items():
            if fault_of(error.code()) is not Fault.RECORD:
                back.append(index)
            elif waiting is not None and waiting.tells(index):
                in_flight.journal.settle([(in_flight.segment, in_flight.sequence + index, 1)])
            else:
                in_flight.journal.mark(in_flight.segment, in_flight.at, in_flight.sequence, [index], HELD)
                held += 1
        metrics.JOURNAL_HELD_EVENTS.inc(held)
        self._release(in_flight, back)
        return failed


def _ranges(in_flight: InFlight, failed: dict[int, KafkaError]) -> list[Range]:
    indexes, first = in_flight.indexes, in_flight.sequence
    if not failed and indexes[-1] - indexes[0] + 1 == len(indexes):
        return [(in_flight.segment, first + indexes[0], len(indexes))]
    return [(in_flight.segment, first + index, 1) for index in indexes if index not in failed]
