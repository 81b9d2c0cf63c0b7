"""The one object graph of a worker process: journal, producer, drain, quotas, callers, and what is done now and then.

Composition root of the event path. Made lazily by the first request, after the fork (ADR 0006), and closed once, when
the process ends: no new events, then what is queued is flushed and settled, then the journal is let go.
"""

import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.util import Finalize

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingest import kafka
from ingest.api.addresses import networks
from ingest.api.body import BodyBudget
from ingest.chores import Chore, Chores
from ingest.dataplane import metrics
from ingest.dataplane.acks import AckBudget
from ingest.dataplane.callers import Callers
from ingest.dataplane.delivery import InFlight, Settlements
from ingest.dataplane.drain import Drain
from ingest.dataplane.errors import Unavailable
from ingest.dataplane.event import EventLimits
from ingest.dataplane.journal import Journal
from ingest.dataplane.pipeline import Pipeline
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.recent import BUSIEST_TENANTS, SAMPLE_EVENTS, RecentEvents, recent_key
from ingest.dataplane.routing import Defaults
from ingest.dataplane.snapshot_file import SnapshotFile
from ingest.dataplane.tally import flush_all
from tenants.address_limits import AddressLimits
from tenants.api_keys import LAST_USED_HASH
from tenants.buckets import RedisBuckets
from tenants.lease_book import LeaseBook

log = logging.getLogger(__name__)

SNAPSHOT_CHECK_S = 0.1
GAUGES_S = 1.0
RECENT_S = 1.0
KEY_USES_S = 60.0
RECENT_KEPT_S = 3600
# What Redis is asked for can wait or be done without; a retry would only make a request wait longer.
NO_RETRY = Retry(NoBackoff(), 0)


class Worker:
    """Everything a request needs. `lane_lock` lets one thread at a time do the Python work of a request (ADR 0003)."""

    def __init__(self) -> None:
        process_count = settings.FOREBAY_WORKERS * settings.FOREBAY_NODES
        self.lane_lock = threading.Lock()
        self.redis = _redis()
        self.book = LeaseBook(
            RedisBuckets(self.redis, time.time),
            lease_s=settings.FOREBAY_QUOTA_LEASE_MS / 1000,
            process_count=process_count,
            max_request_events=settings.FOREBAY_REQUEST_MAX_EVENTS,
            max_request_bytes=settings.FOREBAY_BODY_MAX_BYTES,
        )
        self.address_limits = AddressLimits(self.redis, process_count=process_count)
        self.key_uses: dict[int, float] = {}
        self.recent = RecentEvents()
        self.ack_budget = AckBudget(settings.FOREBAY_THREADS)
        self.anonymous_requests_per_s = settings.FOREBAY_ANONYMOUS_REQUESTS_PER_S
        self.trusted_proxies = networks(settings.FOREBAY_TRUSTED_PROXIES)
        self.ack_timeout_s = settings.FOREBAY_ACK_TIMEOUT_S
        self.body_max_bytes = settings.FOREBAY_BODY_MAX_BYTES
        self.body_budget = BodyBudget(settings.FOREBAY_THREADS)
        self._closing = False
        self._callers: Callers | None = None
        self._snapshot_file = SnapshotFile(settings.FOREBAY_SNAPSHOT_FILE)
        self.journal = _new_journal()
        self._settlements = Settlements(self._release)
        self.producer = EventProducer(kafka.producer_properties(), self._settlements.settle_if_due)
        completed = self._settlements.completed
        self.drain = Drain(self.lane_lock, self.producer, completed, lambda: self.topics, self.journal)
        self.pipeline = Pipeline(
            _event_limits(),
            self.journal,
            self.drain,
            self.producer.produce,
            completed,
            self.ack_budget,
            self.recent,
            socket.gethostname(),
        )
        self._chores = Chores(
            [
                Chore(SNAPSHOT_CHECK_S, self._take_snapshot),
                Chore(GAUGES_S, self._show_gauges),
                Chore(RECENT_S, self._publish_recent),
                Chore(KEY_USES_S, self._publish_key_uses),
            ]
        )
        # On a thread of its own: a large journal takes a while to read, and a revoked key must not wait for that.
        self._adoption = Chores([Chore(settings.FOREBAY_JOURNAL_ADOPT_INTERVAL_S, self._adopt)])

    def start(self) -> None:
        """Take in the snapshot that is there, then begin all threads."""
        self._take_snapshot()
        self.book.start()
        self.drain.start()
        self._chores.start()
        self._adoption.start()

    @property
    def callers(self) -> Callers:
        """The callers of the newest snapshot. Raises Unavailable while there is none, and at the end."""
        if self._callers is None:
            raise Unavailable("no_snapshot", "This worker knows no tenants yet: it waits for the snapshot builder")
        if self._closing:
            raise Unavailable("shutting_down", "This worker is going away; send it again, another will answer")
        return self._callers

    @property
    def topics(self) -> dict[str, TopicPolicy]:
        """The topics that the builder has seen in the cluster; nothing else may be produced to."""
        return self._callers.topics if self._callers is not None else {}

    def condition(self) -> dict[str, object]:
        """What a person would want to know first."""
        return {
            "snapshot_version": self._callers.snapshot.header.version if self._callers else None,
            "in_flight_events": len(self.producer),
            "journal_pending_events": self.drain.pending,
            "journal_used_bytes": self.journal.used_bytes,
            "journal_max_bytes": self.journal.max_bytes,
            "redis_available": self.book.redis_available,
        }

    def close(self) -> None:
        """Accept nothing more, deliver what is queued, settle it, let the journal go. What is left others adopt."""
        if self._closing:
            return
        self._closing = True
        with self.lane_lock:  # the request that is in it is the last one
            log.info("closing: %d records in flight", len(self.producer))
        self._chores.stop()
        self._adoption.stop()
        self.drain.close()
        left = self.producer.close(settings.FOREBAY_PRODUCER_FLUSH_TIMEOUT_S)
        if left:
            log.warning("%d records were not acknowledged in time; they stay in the journal", left)
        self.drain.close_journals()
        self.book.stop()
        self._show_gauges()

    def _release(self, in_flight: InFlight, indexes: list[int]) -> None:
        self.drain.release(in_flight, indexes)

    # --- chores ---

    def _take_snapshot(self) -> None:
        snapshot = self._snapshot_file.changed()
        if snapshot is not None:
            self._callers = Callers(snapshot, _defaults())
            metrics.SNAPSHOT_VERSION.set(snapshot.header.version)

    def _adopt(self) -> None:
        self.drain.adopt(settings.FOREBAY_JOURNAL_DIR, **_journal_sizes())

    def _show_gauges(self) -> None:
        flush_all()
        metrics.IN_FLIGHT_EVENTS.set(len(self.producer))
        metrics.JOURNAL_USED_BYTES.set(self.journal.used_bytes)
        metrics.JOURNAL_UTILISATION_RATIO.set(self.journal.used_bytes / self.journal.max_bytes)
        metrics.JOURNAL_PENDING_EVENTS.set(self.drain.pending)
        metrics.QUOTA_REDIS_AVAILABLE.set(self.book.redis_available)
        if self._callers is not None:
            built_wall_s = self._callers.snapshot.header.built_wall_ms / 1000
            metrics.SNAPSHOT_AGE_SECONDS.set(time.time() - built_wall_s)

    def _publish_recent(self) -> None:
        taken = self.recent.take()
        if not taken:
            return
        pipe = self.redis.pipeline(transaction=False)
        for tenant, recent in taken.items():
            pipe.zincrby(BUSIEST_TENANTS, recent.count, tenant)
            pipe.lpush(recent_key(tenant), *recent.sample)
            pipe.ltrim(recent_key(tenant), 0, SAMPLE_EVENTS - 1)
            pipe.expire(recent_key(tenant), RECENT_KEPT_S)
        _unless_away(pipe.execute)

    def _publish_key_uses(self) -> None:
        uses, self.key_uses = self.key_uses, {}
        if uses:
            _unless_away(lambda: self.redis.hset(LAST_USED_HASH, mapping={str(key): at for key, at in uses.items()}))


_lock = threading.Lock()
_worker: Worker | None = None


def worker() -> Worker:
    """This process's worker, made by the first call."""
    return _worker or _make_worker()


def _make_worker() -> Worker:
    global _worker
    with _lock:
        if _worker is None:
            made = Worker()
            made.start()
            # atexit does not run in a multiprocessing child on Python 3.11; this does on all.
            Finalize(made, made.close, exitpriority=100)
            # What is imported by now lives as long as the process: without this the collector walks all of Django every
            # few hundred requests, which took more of the interpreter's time than the requests did.
            gc.collect()
            gc.freeze()
            _worker = made
    return _worker


def _forget_worker() -> None:
    """A child has none of the threads: librdkafka's and ours stayed with the parent."""
    global _lock, _worker
    _lock, _worker = threading.Lock(), None


os.register_at_fork(after_in_child=_forget_worker)


def _redis() -> redis.Redis:
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    return redis.Redis.from_url(
        settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=NO_RETRY
    )


def _unless_away(call: Callable[[], object]) -> None:
    """For what Redis may miss: nothing of it is an event, and what is missed now comes again."""
    try:
        call()
    except redis.RedisError as error:
        log.debug("Redis does not answer: %s", error)


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


def _event_limits() -> EventLimits:
    return EventLimits(
        event_max_bytes=settings.FOREBAY_EVENT_MAX_BYTES,
        surely_fits_bytes=min(
            settings.FOREBAY_EVENT_MAX_BYTES,
            # No topic is verified that takes less than a full batch.
            settings.FOREBAY_PRODUCER_BATCH_SIZE_BYTES - kafka.RECORD_OVERHEAD_BYTES,
        ),
        request_max_events=settings.FOREBAY_REQUEST_MAX_EVENTS,
        metadata_max_entries=settings.FOREBAY_METADATA_MAX_ENTRIES,
        timestamp_max_age_s=settings.FOREBAY_TIMESTAMP_MAX_AGE_S,
        timestamp_max_ahead_s=settings.FOREBAY_TIMESTAMP_MAX_AHEAD_S,
    )


def _defaults() -> Defaults:
    return Defaults(
        topic=settings.FOREBAY_TOPIC_DEFAULT,
        topic_partitions=settings.FOREBAY_TOPIC_PARTITIONS,
        errors_wait_for_ack=settings.FOREBAY_ERRORS_WAIT_FOR_ACK,
    )
