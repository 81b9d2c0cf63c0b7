"""What follows from delivery reports: records settled or sent back, topics parked, breakers told, the producer renewed.

Data plane; all of it on the poll thread, every 50 ms. docs/faults.md says what each error leads to.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError

from ingest.dataplane import metrics
from ingest.dataplane.calls import NO_REPORT, OVERDUE_S, Calls
from ingest.dataplane.faults import Counts, Fault, verdict_of
from ingest.dataplane.flow import Line, Parked
from ingest.dataplane.flows import Flows
from ingest.dataplane.in_flight import InFlight
from ingest.dataplane.journal import Journal, Range
from ingest.dataplane.ledger import Ending
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import HELD, IN_FLIGHT
from ingest.dataplane.suspects import Suspects

log = logging.getLogger(__name__)

INTERVAL_S = 0.05
COMPLAIN_EVERY_S = 10.0
# More of them at once would not open a breaker any further.
OVERDUE_AT_ONCE = 10
# Silence that lasts counts again this often: one call in two seconds is enough to open a breaker within ten.
SILENT_AGAIN_S = 0.5


class Settlements:
    """Collects what is complete and settles it. `producers`: the main one, then that of single records if there is one.
    `stalled_s`: how long a record may be in librdkafka's hands, which reports every one within message.timeout.ms,
    before the instance is taken for broken."""

    def __init__(
        self,
        completed: "deque[InFlight]",
        lane_lock: threading.Lock,
        flows: Flows,
        suspects: Suspects,
        producers: Callable[[], list[EventProducer]],
        journals: Callable[[], list[Journal]],
        *,
        stalled_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._completed = completed
        self._lane_lock = lane_lock
        self._flows = flows
        self._suspects = suspects
        self._producers = producers
        self._journals = journals
        self._stalled_s = stalled_s
        self._now_s = now_s
        self._next_s = 0.0
        self._calls = Calls(flows, now_s)
        self._calls_back = False
        self._ranges: dict[Journal, list[Range]] = {}
        self._complained_s = float("-inf")

    def settle_if_due(self) -> None:
        """On the poll thread, often."""
        now_s = self._now_s()
        if now_s >= self._next_s:
            self._next_s = now_s + INTERVAL_S
            self.settle_all()
            self.watch()

    def call_back(self) -> None:
        """A breaker opened: at the next settlement what is queued is called back. Any thread; does not wait."""
        self._calls_back = True

    def settle_all(self) -> None:
        """Settle everything that is complete. What one call or one journal runs into keeps no other."""
        ranges, delivered = self._ranges, Counter[str]()
        while self._completed:
            in_flight = self._completed.popleft()
            if in_flight.is_settled or in_flight.reported < in_flight.expected:
                continue
            in_flight.is_settled = True
            try:
                if not in_flight.is_abandoned:
                    self._done(in_flight)
                if not in_flight.indexes:
                    self._calls.came_to_nothing(in_flight)
                    continue
                if in_flight.failures and in_flight.is_over:
                    continue  # of what is settled the file may be gone, with which it could be told what has failed
                failed = self._failed(in_flight) if in_flight.failures else {}
                if not failed:
                    self._succeeded(in_flight)
            except Exception:  # what was to be settled stays in the journal
                log.exception("%s of %s: a call stays unsettled", in_flight.flow.topic, in_flight.flow.tenant)
                continue
            ranges.setdefault(in_flight.journal, []).extend(_ranges(in_flight, failed))
            delivered[in_flight.flow.topic] += len(in_flight.indexes) - len(failed)
        if self._calls_back:
            # What is queued behind those that failed would overtake them.
            self._calls_back = False
            with self._lane_lock:
                self._flows.call_back()
                for producer in self._producers():
                    producer.purge_queue()
        for topic, count in delivered.items():
            metrics.delivered(topic)[0].inc(count)
        self._settle_journals()
        self._calls.tell()

    def watch(self) -> None:
        """Find calls that are overdue, and an instance of librdkafka that has stopped reporting."""
        now_s = self._now_s()
        for line in tuple(self._flows.lines.values()):
            line.forget_ended()
            outstanding = line.outstanding
            if outstanding and now_s - outstanding[0].produced_s > OVERDUE_S:
                if now_s - line.last_success_s > OVERDUE_S:
                    self._count_overdue(line, now_s)
                if now_s - outstanding[0].produced_s > self._stalled_s:
                    self._distrust_stalled(line, now_s)
        self._calls.tell()
        for producer in self._producers():
            if producer.is_distrusted:
                self._renew(producer)

    def _settle_journals(self) -> None:
        """What a journal does not settle now is tried again the next time."""
        for journal, ranges in tuple(self._ranges.items()):
            with self._keeping_others_from(journal):
                late = sum(size for _, _, size in ranges) - journal.settle(ranges)
                del self._ranges[journal]
                metrics.LATE_REPORTS.inc(late)
        for journal in self._journals():
            with self._keeping_others_from(journal):
                journal.write_counts()

    @contextmanager
    def _keeping_others_from(self, journal: Journal) -> Iterator[None]:
        try:
            yield
        except Exception:  # whatever one journal runs into must not keep the others, nor the breakers
            if self._now_s() - self._complained_s >= COMPLAIN_EVERY_S:
                self._complained_s = self._now_s()
                log.exception("journal %s could not be settled; it is tried again", journal.name)

    def _done(self, in_flight: InFlight) -> None:
        flow = in_flight.flow
        flow.done += 1
        flow.line.done_bytes += in_flight.size_bytes

    def _succeeded(self, in_flight: InFlight) -> None:
        seconds = in_flight.completed_s - in_flight.produced_s
        metrics.delivered(in_flight.flow.topic)[1].observe(seconds)
        self._calls.succeeded(in_flight)
        if in_flight.alone is not None:
            self._suspects.forget(in_flight)

    def _failed(self, in_flight: InFlight) -> dict[int, KafkaError]:
        """Failed records go back to the backlog; those that Kafka may never take are tried alone, and then told to a
        waiting sender or given up."""
        failed = in_flight.failed_indexes()
        back: list[int] = []
        for index, error in failed.items():
            if verdict_of(error.code()).fault is Fault.RECORD:
                self._refused(in_flight, index, error)
            else:
                back.append(index)
        errors = Counter((error.code(), error.name()) for error in failed.values())
        for (code, name), count in errors.items():
            metrics.DELIVERY_ERRORS.labels(verdict_of(code).fault, name).inc(count)
        if not back:
            self._calls.succeeded(in_flight)  # Kafka has answered, though not as one would like
        elif not in_flight.is_abandoned:
            self._send_back(in_flight, back, failed)
        return failed

    def _refused(self, in_flight: InFlight, index: int, error: KafkaError) -> None:
        waiting = in_flight.acknowledgements
        if waiting is not None and waiting.tells(index):
            retracted = [(in_flight.segment, in_flight.sequence + index, 1)]
            in_flight.journal.settle(retracted, Ending.RETRACTED)
            self._suspects.forget(in_flight)
        elif not in_flight.is_abandoned:
            self._suspects.add(in_flight, index, error)

    def _send_back(self, in_flight: InFlight, back: list[int], failed: dict[int, KafkaError]) -> None:
        flow, faults = in_flight.flow, {failed[index].code(): failed[index] for index in back}
        verdicts = {code: verdict_of(code) for code in faults}
        faults_of = {verdict.fault for verdict in verdicts.values()}
        with self._lane_lock:
            self._flows.come_back(flow, in_flight.origin, back, is_purged=faults_of == {Fault.PURGED})
            for code, verdict in verdicts.items():
                if verdict.fault is Fault.TOPIC and flow.parked is None:
                    self._flows.park(flow, Parked(faults[code].name(), faults[code].str(), time.time_ns() // 1_000_000))
                    log.warning("parked %s for %s: %s", flow.topic, flow.tenant, faults[code].str())
                    self._calls_back = True
        if in_flight.alone is not None:
            self._suspects.forget(in_flight)
        if Fault.FATAL in faults_of:
            self._producer_of(in_flight).distrust("fatal")
        self._calls.failed(in_flight, faults, "/".join(sorted(error.name() for error in faults.values())))
        if any(verdict.counts is not Counts.NOTHING for verdict in verdicts.values()):
            self._calls_back = True

    def _count_overdue(self, line: Line, now_s: float) -> None:
        counted = 0
        for in_flight in tuple(line.outstanding):
            if now_s - in_flight.produced_s <= OVERDUE_S or counted == OVERDUE_AT_ONCE:
                break
            if not (in_flight.is_counted or in_flight.has_ended):
                self._calls.failed(in_flight, (KafkaError._TIMED_OUT,), NO_REPORT)
                counted += 1
        if not counted and now_s - line.overdue_s < SILENT_AGAIN_S:
            return
        if not counted:
            self._calls.silent_still(line.outstanding[0])
        line.overdue_s = now_s
        metrics.OVERDUE_CALLS.inc(counted)

    def _producer_of(self, in_flight: InFlight) -> EventProducer:
        return self._producers()[0] if in_flight.alone is None else in_flight.alone

    def _distrust_stalled(self, line: Line, now_s: float) -> None:
        """Behind a call of the one producer there may be one of the other."""
        for in_flight in tuple(line.outstanding):
            if now_s - in_flight.produced_s <= self._stalled_s:
                return
            if not in_flight.has_ended:
                self._producer_of(in_flight).distrust("stalled")

    def _renew(self, producer: EventProducer) -> None:
        """Replace its instance of librdkafka; what that has not reported is pending again, under the same eventIds."""
        alone = None if producer is self._producers()[0] else producer
        with self._lane_lock:
            producer.renew()
            for line in self._flows.lines.values():
                if alone is None:
                    line.begin_instance()
                for in_flight in tuple(line.outstanding):
                    if in_flight.alone is alone and not in_flight.has_ended:
                        self._abandon(in_flight)

    def _abandon(self, in_flight: InFlight) -> None:
        in_flight.is_abandoned = True
        self._done(in_flight)
        self._calls.came_to_nothing(in_flight)
        first = in_flight.sequence - in_flight.segment.first_sequence
        states, taken = in_flight.segment.states, IN_FLIGHT if in_flight.alone is None else HELD
        lost = [index for index in in_flight.indexes if states[first + index] == taken]
        if in_flight.alone is not None:
            self._suspects.forget(in_flight)
        if lost:
            self._flows.put_back(in_flight.flow, in_flight.origin, lost)


def _ranges(in_flight: InFlight, failed: dict[int, KafkaError]) -> list[Range]:
    indexes, first = in_flight.indexes, in_flight.sequence
    if not failed and indexes[-1] - indexes[0] + 1 == len(indexes):
        return [(in_flight.segment, first + indexes[0], len(indexes))]
    return [(in_flight.segment, first + index, 1) for index in indexes if index not in failed]
