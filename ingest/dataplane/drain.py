"""How a backlog leaves: pending records of this worker's journal, and of dead workers' it has adopted, are produced.

Data plane. One thread a worker, which turns to the flows that are behind one after another, so that none waits for a
larger one; within a flow the oldest leaves first. What may leave is decided under the lane lock, as for the lane.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaError

from ingest.dataplane import metrics
from ingest.dataplane.flow import Flow, Waiting
from ingest.dataplane.flows import Flows
from ingest.dataplane.journal import Journal, Origin
from ingest.dataplane.journal_lock import JournalLocked, orphans
from ingest.dataplane.partitioning import UNASSIGNED
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.segments import IN_FLIGHT, Accept, DamagedFrame, Record
from ingest.dataplane.suspects import Suspects, give_up_damaged

log = logging.getLogger(__name__)

IDLE_S = 0.05
TIDY_EVERY_S = 1.0
# Of what waits for an operator only its age matters, and that in days.
LOOK_AT_AGE_EVERY_S = 30.0
# What one flow may produce before the next one's turn.
TURN_BYTES = 256 << 10
TURN_STEPS = 256
# Who is given up costs memory until somebody has kept it, so beyond this the rest waits in its files.
MOST_SUSPECTS = 10_000


class Step(NamedTuple):
    """One ACCEPT's records for one topic: what a drain produces at once, and one call to the breakers."""

    origin: Origin
    accept: Accept
    indexes: list[int]
    size_bytes: int


class Drain:
    """The backlog of one worker. While `is_adopting`, a journal may be locked and not yet one of those `adopted`."""

    def __init__(
        self,
        lane_lock: threading.Lock,
        flows: Flows,
        suspects: Suspects,
        topics: Callable[[], dict[str, TopicPolicy]],
        *,
        max_age_s: float,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.adopted: list[Journal] = []
        self.is_adopting = False
        self._not_adopted: set[str] = set()
        self._lane_lock = lane_lock
        self._flows = flows
        self._suspects = suspects
        self._topics = topics
        self._max_age_s = max_age_s
        self._now_s = now_s
        self._wall_s = wall_s
        self._look_at_age_s = self._tidy_at_s = 0.0
        self._past_age: set[Flow] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drain_for_ever, name="drain", daemon=True)

    def start(self) -> None:
        """Begin to drain."""
        self._thread.start()

    def close(self) -> None:
        """Stop draining; what is pending stays in the journal. Journals stay open for the last settlements."""
        self._stop.set()
        self._thread.join()

    def adopt(self, root: Path, *, segment_bytes: int, max_bytes: int) -> None:
        """Take over the journals of dead workers. Several processes may try: the lock decides."""
        known = {journal.name for journal in self.journals()}
        self.is_adopting = True
        try:
            for directory in orphans(root):
                if directory.name not in known:
                    self._adopt(directory, segment_bytes, max_bytes)
        finally:
            self.is_adopting = False

    def visit_all(self) -> bool:
        """Give every flow that is behind its turn, look after suspects and old segments; whether somebody has used up
        his turn, so that the next one is due at once. On the drain's thread."""
        self._suspects.visit()
        topics, began_s = self._topics(), self._now_s()
        looks_at_age, is_tidying = began_s >= self._look_at_age_s, began_s >= self._tidy_at_s
        goes_on = False
        for flow in tuple(self._flows.behind.values()):
            # To look costs a read: while a breaker is open ten thousand flows may be behind.
            if looks_at_age or self._is_worth_a_look(flow, topics, began_s):
                try:
                    goes_on |= self._visit(flow, topics, began_s)
                    if flow in self._past_age:
                        self._let_others_go_first(flow)
                except OSError:  # one journal that cannot be read must not keep the others
                    log.exception("%s of %s could not be drained; it is tried again", flow.topic, flow.tenant)
        if looks_at_age:
            self._look_at_age_s = began_s + LOOK_AT_AGE_EVERY_S
        if is_tidying:
            self._tidy_at_s = began_s + TIDY_EVERY_S
            self._tidy_journals()
        return goes_on

    @property
    def pending(self) -> int:
        """Records that wait, in this worker's journal and in those it has adopted."""
        return sum(journal.pending for journal in self.journals())

    def journals(self) -> list[Journal]:
        """Those of dead workers first, then this worker's own."""
        return [*self.adopted, self._flows.own]

    def close_journals(self) -> None:
        """After the last settlement: let all journals go."""
        for journal in self.journals():
            journal.close()

    def _adopt(self, directory: Path, segment_bytes: int, max_bytes: int) -> None:
        try:
            journal = Journal.adopt(directory, segment_bytes=segment_bytes, max_bytes=max_bytes)
            self._take_over(journal)
            self._not_adopted.discard(directory.name)
        except (JournalLocked, FileNotFoundError):
            pass  # another has it, or had it
        except Exception:  # one that cannot be opened must not keep the others
            if directory.name not in self._not_adopted:
                log.exception("journal %s cannot be adopted; it is tried again, without a word", directory.name)
            self._not_adopted.add(directory.name)

    def _take_over(self, journal: Journal) -> None:
        """Line up what waits in it. Until all of it is read nothing refers to it, so that it can be let go."""
        try:
            waiting, events = _lines(journal)
        except BaseException:
            journal.close()
            raise
        log.info("journal %s: adopted with %d pending events", journal.name, journal.pending)
        metrics.JOURNAL_ADOPTED.inc()
        metrics.JOURNAL_DAMAGED_FRAMES.inc(journal.damaged_frames)
        with self._lane_lock:
            self.adopted.append(journal)
        for at, line in waiting.items():
            with self._lane_lock:
                flow = self._flows.of(*at)
                flow.waiting.insert(0, line)  # it is older than what this worker accepts
                flow.pending += events[at]
                flow.is_behind = True
                self._flows.behind[at] = flow

    def _drain_for_ever(self) -> None:
        goes_on = False
        while not self._stop.wait(0.0 if goes_on else IDLE_S):
            try:
                goes_on = self.visit_all()
            except Exception:  # a defect in one visit must not end all later ones
                log.exception("the drain failed; it goes on")
                goes_on = False

    def _is_worth_a_look(self, flow: Flow, topics: dict[str, TopicPolicy], began_s: float) -> bool:
        """Whether it may be given up or leave soon. Without the lane lock, so that is decided again under it."""
        if flow in self._past_age:
            return len(self._suspects) < MOST_SUSPECTS
        if flow.parked is not None or flow.not_before_s > began_s or flow.topic not in topics:
            return False
        return self._flows.offers(flow) and not (flow.must_settle and flow.handed != flow.done)

    def _visit(self, flow: Flow, topics: dict[str, TopicPolicy], began_s: float) -> bool:
        """One turn of a flow; whether it has more that could leave. What can be produced is decided by the topics as
        they were when it began."""
        steps = size_bytes = 0
        while steps < TURN_STEPS and size_bytes < TURN_BYTES:
            with self._lane_lock:
                waiting = flow.first()
                if waiting is None:
                    self._past_age.discard(flow)
                    if not (flow.must_settle and flow.handed != flow.done):
                        self._flows.caught_up(flow)
                    return False
                sequence = waiting.first()
            step = self._step(flow, waiting, sequence)
            if step is None:
                self._take(flow, waiting, sequence, 0)
                continue
            if self._is_past_age(flow, step):
                if not self._give_up(flow, waiting, step):
                    return False
            elif self._stop.is_set() or not self._produce(flow, waiting, step, topics, began_s):
                return False
            steps, size_bytes = steps + 1, size_bytes + step.size_bytes
        return True

    def _step(self, flow: Flow, waiting: Waiting, sequence: int) -> Step | None:
        """What of the oldest ACCEPT waits; None where nothing of it does any more."""
        journal = waiting.journal
        segment = journal.segment_of(sequence)
        if segment is None or not segment.begins(sequence):
            return None
        try:
            accept = journal.read(segment, sequence)
        except DamagedFrame as damage:
            give_up_damaged((journal, segment, sequence), damage)
            return None
        indexes = [index for index in segment.pending_of(accept) if _topic(accept, index) == flow.topic]
        size_bytes = len(indexes) * segment.sizes_bytes[segment.index_of(sequence)]
        return Step((journal, segment, accept.sequence), accept, indexes, size_bytes) if indexes else None

    def _produce(
        self, flow: Flow, waiting: Waiting, step: Step, topics: dict[str, TopicPolicy], began_s: float
    ) -> bool:
        """Produce a step if it may leave; False ends the flow's turn."""
        topic = topics.get(flow.topic)
        journal, segment, sequence = step.origin
        with self._lane_lock:
            if topic is None or flow.not_before_s > began_s:
                return False
            if flow.must_settle and flow.handed != flow.done:
                return False
            if waiting.first() != sequence:
                return True  # something older has come back meanwhile
            if not self._flows.may_leave(flow, step.size_bytes):
                return False
            flow.must_settle = False
            waiting.pop()
            flow.pending -= len(step.indexes)
            journal.mark(segment, sequence, step.indexes, IN_FLIGHT)
            records = _placed(step.accept, topic)
            left = self._flows.hand_over(
                flow, step.origin, records, step.indexes, step.accept.accepted_wall_ms, step.size_bytes
            )
            if left:
                self._flows.put_back(flow, step.origin, left)
        return not left

    def _is_past_age(self, flow: Flow, step: Step) -> bool:
        """Whether it has waited for as long as it may. Then so has much of what follows, which need not wait for the
        next look at ages."""
        is_past_age = self._wall_s() - step.accept.accepted_wall_ms / 1000 > self._max_age_s
        self._past_age.add(flow) if is_past_age else self._past_age.discard(flow)
        return is_past_age

    def _give_up(self, flow: Flow, waiting: Waiting, step: Step) -> bool:
        """An operator decides what becomes of it; False while there are too many of those."""
        if len(self._suspects) >= MOST_SUSPECTS:
            return False
        if self._take(flow, waiting, step.origin[2], len(step.indexes)):
            reason = flow.parked.detail if flow.parked else "waited in the journal for longer than it may"
            self._suspects.give_up(flow, step.origin, step.indexes, KafkaError(KafkaError._MSG_TIMED_OUT, reason))
        return True

    def _let_others_go_first(self, flow: Flow) -> None:
        """There is room for few that are given up, and the first in line must not have it all, time and again."""
        at = flow.tenant, flow.topic
        with self._lane_lock:
            self._flows.behind[at] = self._flows.behind.pop(at, flow)

    def _take(self, flow: Flow, waiting: Waiting, sequence: int, events: int) -> bool:
        """Take the oldest out of the line, unless something older has come back since it was looked at."""
        with self._lane_lock:
            is_first = waiting.first() == sequence
            if is_first:
                waiting.pop()
                flow.pending -= events
            return is_first

    def _tidy_journals(self) -> None:
        for journal in self.journals():
            try:
                metrics.JOURNAL_REWRITTEN_SEGMENTS.inc(journal.compact())
            except (DamagedFrame, OSError):
                log.exception("journal %s: a segment could not be rewritten", journal.name)
            if journal is not self._flows.own and journal.is_finished:
                self.adopted.remove(journal)
                journal.close()


def _lines(journal: Journal) -> tuple[dict[tuple[str, str], Waiting], Counter[tuple[str, str]]]:
    """What waits in a journal by (tenant, topic), and how many events that is. Raises OSError."""
    waiting: dict[tuple[str, str], Waiting] = {}
    events: Counter[tuple[str, str]] = Counter()
    for _, accept, indexes in journal.backlog():
        for topic, count in Counter(_topic(accept, index) for index in indexes).items():
            at = accept.tenant, topic
            if at not in waiting:
                waiting[at] = Waiting(journal)
            waiting[at].append(accept.sequence)
            events[at] += count
    return waiting, events


def _topic(accept: Accept, index: int) -> str:
    record = accept.records[index]
    return record[0] if record is not None else ""


def _placed(accept: Accept, topic: TopicPolicy) -> list[Record | None]:
    """Records routed before the topic was seen have a partition out of as many as it should have had."""
    return [
        record and (record[0], record[1] if record[1] < topic.partitions else UNASSIGNED, *record[2:])
        for record in accept.records
    ]
