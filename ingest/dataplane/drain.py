"""How a backlog leaves: pending records of this worker's journal, and of dead workers' it has adopted, are produced.

Data plane. One thread a worker. A (tenant, topic) with a backlog is *behind*: the lane only appends its new events and
the drain alone produces them, until none is left; so nothing overtakes. Both decide under the lane lock.
"""

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

from ingest.dataplane import metrics
from ingest.dataplane.delivery import InFlight, Origin
from ingest.dataplane.journal import Journal, JournalLocked, orphans
from ingest.dataplane.partitioning import UNASSIGNED
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import IN_FLIGHT, PENDING, Accept

log = logging.getLogger(__name__)

IDLE_S = 0.05
# A topic whose records have just come back is left alone for this long.
BACK_OFF_S = 1.0


class Drain:
    """The backlog of one worker. `behind` counts pending records by (tenant, topic); the lane lock guards it."""

    def __init__(
        self,
        lane_lock: threading.Lock,
        producer: EventProducer,
        completed: "deque[InFlight]",
        topics: Callable[[], dict[str, TopicPolicy]],
        own: Journal,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behind: Counter[tuple[str, str]] = Counter()
        self.own = own
        self.adopted: list[Journal] = []
        self._lane_lock = lane_lock
        self._producer = producer
        self._completed = completed
        self._topics = topics
        self._now_s = now_s
        self._not_before_s: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drain_for_ever, name="drain", daemon=True)

    def start(self) -> None:
        """Begin to drain."""
        self._thread.start()

    def close(self) -> None:
        """Stop draining; what is pending stays in the journal. Journals stay open for the last settlements."""
        self._stop.set()
        self._thread.join()

    def release(self, in_flight: InFlight, indexes: list[int]) -> None:
        """On the poll thread: records came back. They are pending again and their (tenant, topic) is behind."""
        if not indexes:
            return
        with self._lane_lock:
            in_flight.journal.mark(in_flight.segment, in_flight.at, in_flight.sequence, indexes, PENDING)
            self.behind[in_flight.tenant, in_flight.topic] += len(indexes)
            self._not_before_s[in_flight.topic] = self._now_s() + BACK_OFF_S

    def adopt(self, root: Path, *, segment_bytes: int, max_bytes: int) -> None:
        """Take over the journals of dead workers. Several processes may try: the lock decides."""
        known = {journal.name for journal in self._journals()}
        for directory in orphans(root):
            if directory.name in known:
                continue
            with contextlib.suppress(JournalLocked, FileNotFoundError):
                self._take_over(Journal.adopt(directory, segment_bytes=segment_bytes, max_bytes=max_bytes))

    def visit_all(self) -> None:
        """Produce what can leave every journal, and let go of those that are done. On the drain thread."""
        for journal in self._journals():
            try:
                self._visit(journal)
            except Exception:  # one journal that cannot be read must not keep the others
                log.exception("journal %s: its backlog could not be drained; it is tried again", journal.name)

    @property
    def pending(self) -> int:
        """Records that wait, in this worker's journal and in those it has adopted."""
        return sum(journal.pending for journal in self._journals())

    def close_journals(self) -> None:
        """After the last settlement: let all journals go."""
        for journal in self._journals():
            journal.close()

    def _take_over(self, journal: Journal) -> None:
        log.info("journal %s: adopted with %d pending events", journal.name, journal.pending)
        metrics.JOURNAL_ADOPTED.inc()
        metrics.JOURNAL_DAMAGED_FRAMES.inc(journal.damaged_frames)
        waiting: Counter[tuple[str, str]] = Counter()
        for _, _, accept, indexes in journal.backlog():
            waiting.update((accept.tenant, accept.records[index][0]) for index in indexes)
        with self._lane_lock:
            self.behind.update(waiting)
            self.adopted.append(journal)

    def _journals(self) -> list[Journal]:
        return [*self.adopted, self.own]

    def _drain_for_ever(self) -> None:
        while not self._stop.wait(IDLE_S):
            self.visit_all()

    def _visit(self, journal: Journal) -> None:
        if journal.pending:
            self._drain_once(journal)
        elif journal is not self.own and not journal.unsettled:
            self.adopted.remove(journal)
            journal.close()

    def _drain_once(self, journal: Journal) -> None:
        """One pass over the backlog, oldest first, until librdkafka's queue is full.

        What can be produced is decided by the state at its beginning: a topic that is verified, or whose back-off ends,
        in the middle of a pass has older records before that point, and waits for the next one."""
        topics, began_s = self._topics(), self._now_s()
        if not self._can_anything_leave(topics, began_s):
            return
        for segment, at, accept, indexes in journal.backlog():
            origin = (journal, segment, at, accept.sequence)
            if self._stop.is_set() or not self._produce(origin, accept, indexes, topics, began_s):
                return

    def _can_anything_leave(self, topics: dict[str, TopicPolicy], began_s: float) -> bool:
        """Spares the reading of a whole backlog, twenty times a second, while all of its topics wait."""
        with self._lane_lock:
            return any(name in topics and self._not_before_s.get(name, 0.0) <= began_s for _, name in self.behind)

    def _produce(
        self, origin: Origin, accept: Accept, indexes: list[int], topics: dict[str, TopicPolicy], began_s: float
    ) -> bool:
        """Produce one ACCEPT's pending records whose topics can take them; False when the queue is full."""
        by_topic: dict[str, list[int]] = {}
        for index in indexes:
            by_topic.setdefault(accept.records[index][0], []).append(index)
        with self._lane_lock:
            return all(
                self._produce_topic(origin, accept, topics[name], chosen)
                for name, chosen in by_topic.items()
                if name in topics and self._not_before_s.get(name, 0.0) <= began_s
            )

    def _produce_topic(self, origin: Origin, accept: Accept, topic: TopicPolicy, indexes: list[int]) -> bool:
        # Records routed before the topic was seen have a partition out of as many as it should have had.
        records = [
            (name, partition if partition < topic.partitions else UNASSIGNED, key, value)
            for name, partition, key, value in accept.records
        ]
        journal, segment, at, sequence = origin
        journal.mark(segment, at, sequence, indexes, IN_FLIGHT)
        in_flight = InFlight(self._completed, origin, accept.tenant, topic.name, indexes)
        left = in_flight.produce(self._producer.produce, records, accept.accepted_wall_ms)
        journal.mark(segment, at, sequence, left, PENDING)
        self._caught_up(accept.tenant, topic.name, len(indexes) - len(left))
        return not left

    def _caught_up(self, tenant: str, topic: str, count: int) -> None:
        self.behind[tenant, topic] -= count
        if self.behind[tenant, topic] <= 0:
            del self.behind[tenant, topic]
