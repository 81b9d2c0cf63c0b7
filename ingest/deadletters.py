"""The one thread of a worker that brings what Kafka will not take into the database.

Beside the data plane, which hands it records and knows nothing of the ORM. Bounded: what it has no room for stays in
the journal and is offered again. Only what is committed is reported as kept; a worker that dies before has lost
nothing, for whoever adopts its journal offers the same records, and the table knows them by journal and number.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from django.conf import settings
from django.db import Error, close_old_connections, connection

from ingest.dataplane import metrics
from ingest.dataplane.undeliverable import Undeliverable
from ingest.dead_letters.keeping import letters_keep
from tenants.quotas import TokenBucket

log = logging.getLogger(__name__)

BATCH_EVENTS = 200
BATCH_BYTES = 4 << 20
RETRY_FIRST_S, RETRY_MAX_S = 0.25, 10.0
STOP_S = 5.0

Keep = Callable[[Sequence[Undeliverable]], object]


class DeadLetterWriter:
    """`offer` may be called by any thread and never blocks; `on_kept` is called on the writer's own thread."""

    def __init__(
        self,
        on_kept: Callable[[list[Undeliverable]], None],
        *,
        keep: Keep = lambda batch: letters_keep(batch=batch),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_kept, self._keep, self._now_s = on_kept, keep, now_s
        self._max_bytes = settings.FOREBAY_DEAD_LETTER_QUEUE_BYTES
        self._max_per_s = settings.FOREBAY_DEAD_LETTER_MAX_PER_S
        self._queue: deque[Undeliverable] = deque()
        self._bytes = 0
        self._allowances: dict[str, TokenBucket] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dead-letters", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued if the database takes it, for at most STOP_S; the rest stays in the journal."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def offer(self, undeliverable: Undeliverable) -> bool:
        """Take it over. False: there is no room, or its tenant has had its share of this second; offer it again."""
        size_bytes = _size_bytes(undeliverable)
        with self._changed:
            # One that is larger than the whole queue must get through an empty one.
            if self._queue and self._bytes + size_bytes > self._max_bytes:
                metrics.DEAD_LETTERS_REFUSED.labels("queue_full").inc()
                return False
            if not self._is_allowed(undeliverable.tenant):
                metrics.DEAD_LETTERS_REFUSED.labels("tenant_rate").inc()
                return False
            self._queue.append(undeliverable)
            self._bytes += size_bytes
            self._changed.notify()
        return True

    def __len__(self) -> int:
        """How many are taken over and not kept yet."""
        return len(self._queue)

    def _is_allowed(self, tenant: str) -> bool:
        now_s = self._now_s()
        bucket = self._allowances.get(tenant)
        if bucket is None:
            bucket = self._allowances[tenant] = TokenBucket(self._max_per_s, self._max_per_s, now_s)
        taken = bucket.take(1.0, now_s)
        if taken < 1.0:
            # A part of a token lets nobody through; kept by each refusal, it would never become a whole one.
            bucket.take(-taken, now_s)
        return taken >= 1.0

    def _work(self) -> None:
        while batch := self._next_batch():
            if not self._kept(batch):
                return
            self._forget(batch)
            try:
                self._on_kept(batch)
            except Exception:  # they are offered again, and the table knows them already
                log.exception("kept dead letters could not be settled; they stay in the journal as well")

    def _next_batch(self) -> list[Undeliverable]:
        """Waits for something to do; empty at the end."""
        with self._changed:
            while not self._queue and not self._stopping.is_set():
                self._changed.wait()
            batch: list[Undeliverable] = []
            size_bytes = 0
            for undeliverable in self._queue:
                size_bytes += _size_bytes(undeliverable)
                if batch and (len(batch) >= BATCH_EVENTS or size_bytes > BATCH_BYTES):
                    break
                batch.append(undeliverable)
        return batch

    def _kept(self, batch: list[Undeliverable]) -> bool:
        """Tries until the database has it; False when the worker ends before."""
        pause_s = RETRY_FIRST_S
        while not self._is_committed(batch):
            _let_go_of_connection()
            if self._stopping.wait(pause_s):
                return False
            pause_s = min(RETRY_MAX_S, 2 * pause_s)
        close_old_connections()
        metrics.DEAD_LETTERS_KEPT.inc(len(batch))
        return True

    def _is_committed(self, batch: list[Undeliverable]) -> bool:
        try:
            self._keep(batch)
        except Error as error:
            log.warning("%d dead letters not written, they are tried again: %s", len(batch), error)
            return False
        except Exception:  # a defect of ours; to give up would not keep them, and a release may mend it
            log.exception("%d dead letters not written, they are tried again", len(batch))
            return False
        return True

    def _forget(self, batch: list[Undeliverable]) -> None:
        with self._changed:
            for undeliverable in batch:
                self._queue.popleft()
                self._bytes -= _size_bytes(undeliverable)
            metrics.DEAD_LETTER_QUEUE_EVENTS.set(len(self._queue))


def _size_bytes(undeliverable: Undeliverable) -> int:
    return len(undeliverable.record[2]) + len(undeliverable.record[3])


def _let_go_of_connection() -> None:
    """What failed may be the connection itself, and only a new one tells."""
    try:
        connection.close()
    except Error as error:
        log.debug("a connection that failed could not be closed: %s", error)
