"""Records in librdkafka's hands, and the delivery reports that come for them.

Data plane. The lane and the drain make these and produce; reports run on the poll thread, and only count.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from ingest.dataplane.acks import Acknowledgements, Place
from ingest.dataplane.faults import Fault, fault_of
from ingest.dataplane.flow import Flow
from ingest.dataplane.journal import Origin
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import SETTLED, DamagedFrame, Record

log = logging.getLogger(__name__)

Produce = Callable[..., None]
"""librdkafka's: never blocks, raises BufferError when its queue is full and KafkaException when it will not take it."""


class InFlight:
    """The records of one request for one topic, settled together when the last report is in; one call to the breakers.

    The producing thread alone writes `expected`, the poll thread alone `reported`: no lock, no lost count. `alone` is
    the producer of single records, for one that must not share a batch.
    """

    __slots__ = (
        "acknowledgements",
        "alone",
        "cluster_epoch",
        "completed",
        "completed_s",
        "expected",
        "failures",
        "flow",
        "indexes",
        "is_abandoned",
        "is_counted",
        "is_settled",
        "journal",
        "produced_s",
        "reported",
        "segment",
        "sequence",
        "size_bytes",
        "topic_epoch",
    )

    def __init__(
        self,
        completed: "deque[InFlight]",
        origin: Origin,
        flow: Flow,
        indexes: Sequence[int],
        size_bytes: int,
        cluster_epoch: int,
        produced_s: float,
        acknowledgements: Acknowledgements | None = None,
        alone: EventProducer | None = None,
    ) -> None:
        self.completed = completed
        self.journal, self.segment, self.sequence = origin
        self.flow, self.indexes, self.size_bytes = flow, indexes, size_bytes
        self.cluster_epoch, self.topic_epoch = cluster_epoch, flow.line.breaker.epoch
        self.expected, self.reported = len(indexes), 0
        self.is_settled = self.is_counted = self.is_abandoned = False
        self.produced_s = self.completed_s = produced_s
        self.failures: list[tuple[KafkaError, bytes | None, int | None]] = []
        self.acknowledgements = acknowledgements
        self.alone = alone

    @property
    def origin(self) -> Origin:
        """Where its records are in which journal."""
        return self.journal, self.segment, self.sequence

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is awaited of it: it is settled, or went with the instance that had it."""
        return self.is_settled or self.is_abandoned

    @property
    def is_over(self) -> bool:
        """Whether all of its records are settled, which another instance's reports may have done."""
        first = self.sequence - self.segment.first_sequence
        states = self.segment.states
        return all(states[first + index] == SETTLED for index in self.indexes)

    def produce(self, produce: Produce, records: Sequence[Record | None], accepted_wall_ms: int) -> Sequence[int]:
        """Hand the records over in order; returns the indexes that librdkafka's queue had no room for. A record's own
        timestamp is when it was accepted, however much later it is produced."""
        topic, report, waiting, done = self.flow.topic, self.report, self.acknowledgements, 0
        chosen = records if len(records) == len(self.indexes) else [records[index] for index in self.indexes]
        for done, (_, partition, key, value, _) in enumerate(chosen):  # type: ignore[misc]  # what is settled and None is not chosen
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
        if self.acknowledgements is not None and self.alone is None:
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
        """The same for a request that waits: it must know which record the report is about. Brokers refuse a batch for
        one bad record of any request, so of a refusal the sender hears when the record was tried alone."""
        waiting = self.acknowledgements
        if error is not None:
            self.failures.append((error, None, index))
        self.reported += 1
        if waiting is not None and error is None:
            waiting.report(index, Place(message.topic() or "", message.partition() or 0, message.offset() or 0))
        elif waiting is not None and error is not None and self._is_certain(error):
            waiting.report(index, error)
        if self.reported == self.expected:
            self.completed_s = time.monotonic()
            self.completed.append(self)

    def _is_certain(self, error: KafkaError) -> bool:
        return self.alone is not None or fault_of(error.code()) is not Fault.RECORD

    def failed_indexes(self) -> dict[int, KafkaError]:
        """Which records failed. A report does not say which record it is about, so the failed values are looked up in
        the journal; among equal values any will do."""
        failed = {index: error for error, _, index in self.failures if index is not None}
        missing = Counter(value for _, value, index in self.failures if index is None)
        if missing:
            errors = {value: error for error, value, _ in self.failures}
            try:
                records = self.journal.read(self.segment, self.sequence).records
            except (DamagedFrame, OSError) as damage:
                log.error("journal %s: %s; all records of a call that failed are sent again", self.journal.name, damage)
                return dict.fromkeys(self.indexes, self.failures[0][0])
            for index in self.indexes:
                record = records[index]
                if record is not None and missing[record[3]] and index not in failed:
                    missing[record[3]] -= 1
                    failed[index] = errors[record[3]]
        return failed
