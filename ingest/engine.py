"""The data plane of one worker process put together: journal, producer, flows, drain, and what looks after them.

Composition root of the event path's lower half; ingest.worker has the upper one. Nothing here is on a request's way but
the objects that it makes.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from django.conf import settings

from ingest import kafka
from ingest.chores import Chore, Chores
from ingest.dataplane.acks import Acknowledgements
from ingest.dataplane.breaker import Breaker
from ingest.dataplane.drain import Drain
from ingest.dataplane.errors import Unavailable
from ingest.dataplane.flow import Flow
from ingest.dataplane.flows import Flows
from ingest.dataplane.group_commit import GroupCommit, timed
from ingest.dataplane.in_flight import InFlight
from ingest.dataplane.journal import Journal, Origin
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.producer import EventProducer, one_record_a_batch
from ingest.dataplane.segments import Accept
from ingest.dataplane.settlements import Settlements
from ingest.dataplane.suspects import Suspects
from ingest.dataplane.undeliverable import Undeliverable
from tenants.quotas import TokenBucket

# librdkafka reports every record within message.timeout.ms; an instance that is this much later is broken.
STALLED_S = 30.0


class Engine:
    """`commit` is there where a request waits until the disk has it (fsync=always)."""

    def __init__(
        self,
        lane_lock: threading.Lock,
        topics: Callable[[], dict[str, TopicPolicy]],
        *,
        cluster: Breaker,
        breaker_of: Callable[[str], Breaker],
        offer: Callable[[Undeliverable], bool],
        now_s: Callable[[], float],
    ) -> None:
        self.journal = _new_journal()
        self._lane_lock = lane_lock
        self._topics = topics
        self._alone: EventProducer | None = None
        completed: deque[InFlight] = deque()
        self.producer = EventProducer(kafka.producer_properties(), lambda: self._settlements.settle_if_due())
        self.flows = Flows(
            self.journal,
            self.producer,
            completed,
            cluster=cluster,
            breaker_of=breaker_of,
            topic_in_flight_bytes=settings.FOREBAY_PRODUCER_QUEUE_BYTES // 4,
            send_rate=_send_rate(now_s()),
        )
        self.suspects = Suspects(self._try_alone, offer)
        self.drain = Drain(lane_lock, self.flows, self.suspects, topics, max_age_s=settings.FOREBAY_JOURNAL_MAX_AGE_S)
        self._settlements = Settlements(
            completed,
            lane_lock,
            self.flows,
            self.suspects,
            self._producers,
            self.drain.journals,
            stalled_s=settings.FOREBAY_PRODUCER_MESSAGE_TIMEOUT_MS / 1000 + STALLED_S,
        )
        policy, interval_s = settings.FOREBAY_JOURNAL_FSYNC, settings.FOREBAY_JOURNAL_FSYNC_INTERVAL_MS / 1000
        self.commit = GroupCommit(self.journal.sync) if policy == "always" else None
        self._synced = 0
        self._syncing = Chores([Chore(interval_s, self._sync)] if policy == "interval" else [])
        # On a thread of its own: a large journal takes a while to read, and nothing else must wait for that.
        self._adoption = Chores([Chore(settings.FOREBAY_JOURNAL_ADOPT_INTERVAL_S, self._adopt)])

    def start(self) -> None:
        """Begin all threads."""
        self.producer.start()
        self.drain.start()
        self._adoption.start()
        self._syncing.start()

    def stop(self) -> int:
        """Deliver what is queued and settle it, within the flush timeout: the server kills whoever takes much longer.
        Returns how many records were left. Journals stay open."""
        deadline_s = time.monotonic() + settings.FOREBAY_PRODUCER_FLUSH_TIMEOUT_S
        self._adoption.stop()
        self.drain.close()
        # The main one first: while it takes its time the other still sends, on its own thread.
        left = sum(producer.close(deadline_s - time.monotonic()) for producer in self._producers())
        self._settlements.settle_all()
        self._syncing.stop()
        return left

    def close(self) -> None:
        """Let the journals go, for others to adopt what is left in them."""
        self.drain.close_journals()

    def purge(self) -> None:
        """A breaker opened: what is queued goes back to the journal and leaves in its order later. Any thread, whatever
        it has locked."""
        self._settlements.call_back()

    def _try_alone(
        self, flow: Flow, origin: Origin, accept: Accept, index: int, waits_for: Acknowledgements | None
    ) -> bool:
        """On the drain's thread: one record in a batch of its own."""
        segment = origin[1]
        size_bytes = segment.sizes_bytes[segment.index_of(accept.sequence)]
        if flow.topic not in self._topics():
            return False
        with self._lane_lock:
            if not self.flows.may_leave(flow, size_bytes):
                return False
            left = self.flows.hand_over(
                flow,
                origin,
                accept.records,
                [index],
                accept.accepted_wall_ms,
                size_bytes,
                waits_for,
                alone=self._producer_of_single_records(),
            )
        return not left

    def _producer_of_single_records(self) -> EventProducer:
        """Made when the first bad record comes: most workers never need it."""
        if self._alone is None:
            properties = one_record_a_batch(kafka.producer_properties())
            self._alone = EventProducer(properties, _nothing, name="producer-of-single-records")
            self._alone.start()
        return self._alone

    def _producers(self) -> list[EventProducer]:
        return [self.producer] if self._alone is None else [self.producer, self._alone]

    def _sync(self) -> None:
        if self.journal.written != self._synced:
            self._synced = timed(self.journal.sync)

    def _adopt(self) -> None:
        self.drain.adopt(settings.FOREBAY_JOURNAL_DIR, **_journal_sizes())


def _nothing() -> None:
    """Between the polls of a producer whose reports are settled by another."""


def _send_rate(now_s: float) -> TokenBucket | None:
    """A second's worth may leave at once."""
    bytes_per_s = settings.FOREBAY_PRODUCER_MAX_BYTES_PER_S
    return TokenBucket(bytes_per_s, bytes_per_s, now_s) if bytes_per_s else None


def _new_journal() -> Journal:
    """Without room for a journal there is no worker, and nothing is accepted; the next request tries again."""
    try:
        return Journal.create(settings.FOREBAY_JOURNAL_DIR, **_journal_sizes())
    except OSError as error:
        detail = f"The journal cannot be made in {settings.FOREBAY_JOURNAL_DIR}: {error.strerror}"
        raise Unavailable("journal_unwritable", detail) from error


def _journal_sizes() -> dict[str, int]:
    return {
        "segment_bytes": settings.FOREBAY_JOURNAL_SEGMENT_BYTES,
        "max_bytes": settings.FOREBAY_JOURNAL_MAX_BYTES,
    }
