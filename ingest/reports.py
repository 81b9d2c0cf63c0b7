"""What a worker tells the rest each second: gauges, heartbeat, ledger, breakers, journals, recent events, keys in use.

Worker; the chores' thread alone, never on a request's way. Redis may be away for any of it: nothing here is an event,
and what is missed now comes again.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import redis
from django.conf import settings

from forebay import VERSION
from ingest.alerts.shown import SHOW_S, show_open_alerts
from ingest.breaker_board import BreakerBoard
from ingest.breaker_reports import breakers_report
from ingest.chores import Chore
from ingest.dataplane import metrics
from ingest.dataplane.breaker import State
from ingest.dataplane.last_minute import LastMinute
from ingest.dataplane.policy import Snapshot
from ingest.dataplane.recent import BUSIEST_TENANTS, SAMPLE_EVENTS, RecentEvents, recent_key
from ingest.dataplane.tally import flush_all
from ingest.dataplane.throttles import Throttles
from ingest.engine import Engine
from ingest.figures import show_figures
from ingest.heartbeats import BREAKERS, JOURNALS, Heartbeat, breaker_name
from ingest.journal_reports import journals_report
from ingest.ledger.publisher import LedgerPublisher
from ingest.parked import ParkedEntry, publish_parked
from ingest.tenant_minutes import tenant_minutes_add
from tenants.api_keys import LAST_USED_HASH

log = logging.getLogger(__name__)

EACH_S = 1.0
KEY_USES_S = 60.0
RECENT_KEPT_S = 3600


class Reported(Protocol):
    """What is told of: a worker."""

    lane_lock: threading.Lock
    engine: Engine
    board: BreakerBoard
    redis: redis.Redis
    recent: RecentEvents
    throttles: Throttles
    key_uses: dict[int, float]
    kind: str

    rules_taken_wall_s: float | None

    @property
    def snapshot(self) -> Snapshot | None: ...

    @property
    def redis_available(self) -> bool: ...


class Reports:
    """The reports of one worker."""

    def __init__(self, worker: Reported) -> None:
        node, pid = settings.FOREBAY_NODE_NAME, os.getpid()
        self._worker = worker
        self._name = f"{node}/{pid}"
        self._heartbeat = Heartbeat(worker.redis, node, pid, time.time())
        self._ledger = LedgerPublisher(worker.redis, node)
        self._last_minute = LastMinute(time.monotonic)
        self._journals: set[str] = set()

    def chores(self) -> list[Chore]:
        """All of them."""
        return [
            Chore(EACH_S, self.show_gauges),
            Chore(EACH_S, self._publish_ledger),
            Chore(EACH_S, self._beat),
            Chore(EACH_S, self._publish_parked),
            Chore(EACH_S, self._publish_breakers),
            Chore(EACH_S, self._publish_journals),
            Chore(EACH_S, self._publish_recent),
            Chore(SHOW_S, self._show_alerts),
            Chore(SHOW_S, self._show_figures),
            Chore(KEY_USES_S, self._publish_key_uses),
        ]

    def leave(self) -> None:
        """The last words of a worker that ends in order, after its last SETTLE."""
        self.show_gauges()
        self._ledger.leave(self._worker.engine.drain.journals())
        _unless_away(self._heartbeat.goodbye)

    def condition(self) -> dict[str, Any]:
        """What a person, or an alert, would want to know first; fields of WorkerStatus."""
        worker, engine = self._worker, self._worker.engine
        snapshot = worker.snapshot
        root = engine.journal.directory.parent
        disk = shutil.disk_usage(root)
        return {
            "version": VERSION,
            "kind": worker.kind,
            "snapshot_version": snapshot.header.version if snapshot else None,
            "snapshot_age_s": round(_age_s(snapshot), 3) if snapshot else None,
            "in_flight_events": len(engine.producer),
            "journal_pending_events": engine.drain.pending,
            "journal_used_bytes": engine.journal.used_bytes,
            "journal_max_bytes": engine.journal.max_bytes,
            "queue_utilisation_ratio": round(engine.flows.utilisation_ratio, 4),
            "breakers": worker.board.status(),
            "parked_flows": len(engine.flows.parked()),
            "damaged_segments": len(list(root.glob("*/*.damaged"))),
            "disk_free_bytes": disk.free,
            "disk_total_bytes": disk.total,
            "redis_available": worker.redis_available,
        }

    def show_gauges(self) -> None:
        """Move what does not move by itself."""
        flush_all()
        worker, engine = self._worker, self._worker.engine
        journal = engine.journal
        metrics.IN_FLIGHT_EVENTS.set(len(engine.producer))
        metrics.JOURNAL_USED_BYTES.set(journal.used_bytes)
        metrics.JOURNAL_UTILISATION_RATIO.set(journal.used_bytes / journal.max_bytes)
        metrics.JOURNAL_PENDING_EVENTS.set(engine.drain.pending)
        metrics.PARKED_FLOWS.set(len(engine.flows.parked()))
        metrics.QUOTA_REDIS_AVAILABLE.set(worker.redis_available)
        if worker.snapshot is not None:
            metrics.SNAPSHOT_AGE_SECONDS.set(_age_s(worker.snapshot))

    def _beat(self) -> None:
        condition, worker = self.condition(), self._worker
        condition["rules_version"] = worker.snapshot.header.rules_version if worker.snapshot else None
        condition["rules_taken_wall_s"] = worker.rules_taken_wall_s
        now_wall_ms = _now_wall_ms()
        condition["breakers"] = [
            {
                "name": breaker_name(one["topic"]),
                "state": one["state"],
                "cause": one["cause"],
                "since_wall_ms": now_wall_ms - int(float(one["since_s"]) * 1000),
            }
            for one in condition["breakers"]
            if one["state"] != State.CLOSED
        ]
        status = condition | self._last_minute.take()
        _unless_away(lambda: self._heartbeat.beat(status, time.time()))

    def _publish_ledger(self) -> None:
        drain = self._worker.engine.drain
        journals, adopted = drain.journals(), {journal.name for journal in drain.adopted}
        names = {journal.name for journal in journals}
        for gone in self._journals - names:
            self._ledger.finish(gone)
        self._journals = names
        self._ledger.publish(journals, adopted=adopted)

    def _show_alerts(self) -> None:
        _unless_away(lambda: show_open_alerts(self._worker.redis))

    def _show_figures(self) -> None:
        _unless_away(lambda: show_figures(self._worker.redis))

    def _publish_parked(self) -> None:
        entries = [
            ParkedEntry(
                tenant=flow.tenant,
                topic=flow.topic,
                code=flow.parked.code,
                detail=flow.parked.detail,
                since_wall_ms=flow.parked.since_wall_ms,
                pending=flow.pending,
                node=settings.FOREBAY_NODE_NAME,
            )
            for flow in self._worker.engine.flows.parked()
            if flow.parked is not None
        ]
        _unless_away(lambda: publish_parked(self._worker.redis, self._name, entries))

    def _publish_breakers(self) -> None:
        report = breakers_report(self._worker.board.breakers(), _now_wall_ms())
        _unless_away(lambda: self._heartbeat.tell(BREAKERS, report))

    def _publish_journals(self) -> None:
        worker, engine = self._worker, self._worker.engine
        report = journals_report(
            engine.journal,
            tuple(engine.drain.adopted),
            engine.flows,
            worker.lane_lock,
            node=settings.FOREBAY_NODE_NAME,
            wall_ms=_now_wall_ms(),
        )
        _unless_away(lambda: self._heartbeat.tell(JOURNALS, report))

    def _publish_recent(self) -> None:
        taken, throttled = self._worker.recent.take(), self._worker.throttles.take()
        if not taken and not throttled:
            return
        pipe = self._worker.redis.pipeline(transaction=False)
        events = {tenant: recent.count for tenant, recent in taken.items()}
        tenant_minutes_add(pipe, events, throttled, time.time())
        for tenant, recent in taken.items():
            pipe.zincrby(BUSIEST_TENANTS, recent.count, tenant)
            pipe.lpush(recent_key(tenant), *recent.sample)
            pipe.ltrim(recent_key(tenant), 0, SAMPLE_EVENTS - 1)
            pipe.expire(recent_key(tenant), RECENT_KEPT_S)
        _unless_away(pipe.execute)

    def _publish_key_uses(self) -> None:
        worker = self._worker
        uses, worker.key_uses = worker.key_uses, {}
        if uses:
            _unless_away(lambda: worker.redis.hset(LAST_USED_HASH, mapping={str(k): at for k, at in uses.items()}))


def _age_s(snapshot: Snapshot) -> float:
    return time.time() - snapshot.header.built_wall_ms / 1000


def _now_wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _unless_away(call: Callable[[], object]) -> None:
    try:
        call()
    except redis.RedisError as error:
        log.debug("Redis does not answer: %s", error)
