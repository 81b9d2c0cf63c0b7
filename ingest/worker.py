"""The one object graph of a worker process: the data plane, quotas, callers, and what is done now and then.

Composition root of the event path. Made lazily by the first request, after the fork (ADR 0006), and closed once, when
the process ends: no new events, then what is queued is flushed and settled, then the journal is let go.
"""

import gc
import logging
import os
import socket
import threading
import time
from multiprocessing.util import Finalize
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingest import kafka
from ingest.api.addresses import networks
from ingest.api.body import BodyBudget
from ingest.api.claims import Claims
from ingest.breaker_board import BreakerBoard
from ingest.broker_probe import BrokerProbe
from ingest.chores import Chore, Chores
from ingest.dataplane import metrics
from ingest.dataplane.acks import AckBudget
from ingest.dataplane.breaker import Breaker, BreakerLimits, State
from ingest.dataplane.callers import Caller, Callers
from ingest.dataplane.errors import Unavailable
from ingest.dataplane.event import EventLimits
from ingest.dataplane.pipeline import Pipeline
from ingest.dataplane.policy import Snapshot, TopicPolicy
from ingest.dataplane.recent import RecentEvents
from ingest.dataplane.routing import Defaults
from ingest.dataplane.snapshot_file import SnapshotFile
from ingest.dataplane.suspects import keep
from ingest.dataplane.throttles import Throttles
from ingest.deadletters import DeadLetterWriter
from ingest.engine import Engine
from ingest.quarantine import open_quarantine
from ingest.reports import Reports
from tenants.address_limits import AddressLimits
from tenants.buckets import RedisBuckets
from tenants.lease_book import LeaseBook
from tenants.leases import Allowance

log = logging.getLogger(__name__)

SNAPSHOT_CHECK_S = 0.1
# What Redis is asked for can wait or be done without; a retry would only make a request wait longer.
NO_RETRY = Retry(NoBackoff(), 0)


class Worker:
    """Everything a request needs. `lane_lock` lets one thread at a time do the Python work of a request (ADR 0003)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        process_count = (settings.FOREBAY_WORKERS + bool(settings.FOREBAY_LISTEN_PORT)) * settings.FOREBAY_NODES
        self.lane_lock = threading.Lock()
        self.redis = _redis(settings.FOREBAY_REDIS_URL)
        self.book = LeaseBook(
            RedisBuckets(self.redis, time.time),
            lease_s=settings.FOREBAY_QUOTA_LEASE_MS / 1000,
            process_count=process_count,
            max_request_events=settings.FOREBAY_REQUEST_MAX_EVENTS,
            max_request_bytes=settings.FOREBAY_BODY_MAX_BYTES,
        )
        self.address_limits = AddressLimits(self.redis, process_count=process_count)
        self.key_uses: dict[int, float] = {}
        self.event_limits = _event_limits()
        self.recent = RecentEvents()
        self.throttles = Throttles()
        self.ack_budget = AckBudget(settings.FOREBAY_THREADS)
        self.anonymous_requests_per_s = settings.FOREBAY_ANONYMOUS_REQUESTS_PER_S
        self.trusted_proxies = networks(settings.FOREBAY_TRUSTED_PROXIES)
        self.ack_timeout_s = settings.FOREBAY_ACK_TIMEOUT_S
        self.body_max_bytes = settings.FOREBAY_BODY_MAX_BYTES
        self.body_budget = BodyBudget(settings.FOREBAY_THREADS)
        self.claims = Claims(
            _redis(settings.FOREBAY_IDEMPOTENCY_REDIS_URL),
            kept_s=settings.FOREBAY_IDEMPOTENCY_KEPT_S,
            max_events=settings.FOREBAY_REQUEST_MAX_EVENTS,
        )
        self.quarantine = open_quarantine()
        self.rules_taken_wall_s: float | None = None
        self._closing = False
        self._callers: Callers | None = None
        self._snapshot_file = SnapshotFile(settings.FOREBAY_SNAPSHOT_FILE)
        self._dead_letters = DeadLetterWriter(keep)
        self.board = BreakerBoard(
            self.redis,
            f"{settings.FOREBAY_NODE_NAME}/{os.getpid()}",
            BreakerLimits(open_s=settings.FOREBAY_BREAKER_OPEN_S),
            on_transition=self._breaker_moved,
            probe=BrokerProbe(kafka.connection()) if settings.FOREBAY_BREAKER_PROBE else None,
        )
        self.engine = Engine(
            self.lane_lock,
            lambda: self.topics,
            cluster=self.board.cluster,
            breaker_of=self.board.topic,
            offer=self._dead_letters.offer,
            now_s=time.monotonic,
        )
        self.commit = self.engine.commit
        self.pipeline = Pipeline(
            self.event_limits,
            self.engine.journal,
            self.engine.flows,
            self.ack_budget,
            self.recent,
            socket.gethostname(),
        )
        self._reports = Reports(self)
        # A revoked key must not wait for Redis, which the reports may.
        self._chores = Chores([Chore(SNAPSHOT_CHECK_S, self._take_snapshot)])
        self._reporting = Chores(self._reports.chores())

    def start(self) -> None:
        """Take in the snapshot that is there, then begin all threads."""
        self._take_snapshot()
        self.board.start()
        self.book.start()
        self._dead_letters.start()
        self.quarantine.start()
        self.engine.start()
        self._chores.start()
        self._reporting.start()

    @property
    def callers(self) -> Callers:
        """The callers of the newest snapshot. Raises Unavailable while there is none, and at the end."""
        if self._callers is None:
            raise Unavailable("no_snapshot", "This worker knows no tenants yet: it waits for the snapshot builder")
        if self._closing:
            raise Unavailable("shutting_down", "This worker is going away; send it again, another will answer")
        return self._callers

    def allowance(self, caller: Caller) -> Allowance:
        """What the quotas of its tenant and its key leave to a caller, by leases: nothing here waits."""
        tenant, key = caller.tenant, caller.key
        return self.book.allowance(tenant.name, tenant.quota, str(key.key_id), key.quota)

    @property
    def topics(self) -> dict[str, TopicPolicy]:
        """The topics that the builder has seen in the cluster; nothing else may be produced to."""
        return self._callers.topics if self._callers is not None else {}

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest, None while there is none."""
        return self._callers.snapshot if self._callers is not None else None

    @property
    def redis_available(self) -> bool:
        """Whether quotas are shared with other processes, or counted locally."""
        return self.book.redis_available and self.address_limits.redis_available

    def condition(self) -> dict[str, Any]:
        """What a person would want to know first."""
        return self._reports.condition()

    def close(self) -> None:
        """Accept nothing more, deliver what is queued, settle it, let the journal go. What is left others adopt."""
        if self._closing:
            return
        self._closing = True
        with self.lane_lock:  # the request that is in it is the last one
            log.info("closing: %d records in flight", len(self.engine.producer))
        self._chores.stop()
        self._reporting.stop()
        left = self.engine.stop()
        if left:
            log.warning("%d records were not acknowledged in time; they stay in the journal", left)
        self._dead_letters.stop()
        self.quarantine.stop()
        self.board.stop()
        self._reports.leave()
        self.engine.close()
        self.book.stop()

    def _take_snapshot(self) -> None:
        snapshot = self._snapshot_file.changed()
        if snapshot is None:
            return
        before = self.snapshot
        self._callers = Callers(snapshot, _defaults())
        if before is None or before.header.rules_version != snapshot.header.rules_version:
            self.rules_taken_wall_s = time.time()
        metrics.SNAPSHOT_VERSION.set(snapshot.header.version)
        self.board.apply(snapshot.header.overrides)
        with self.lane_lock:
            self.engine.flows.obey(snapshot.header.overrides)

    def _breaker_moved(self, breaker: Breaker, old: State, new: State, cause: str) -> None:
        """What is queued behind a breaker that opens would overtake what it sends back."""
        if new in (State.OPEN, State.FORCED_OPEN):
            self.engine.purge()


_lock = threading.Lock()
_worker: Worker | None = None


def worker() -> Worker:
    """This process's worker, made by the first call."""
    return _worker or make_worker("web")


def make_worker(kind: str) -> Worker:
    """The same; `kind` is what the process serves, for whoever looks at its heartbeat."""
    global _worker
    with _lock:
        if _worker is None:
            made = Worker(kind)
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


def _redis(url: str) -> redis.Redis:
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=NO_RETRY)


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
