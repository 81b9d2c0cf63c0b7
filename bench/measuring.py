"""How each kind of row is measured: what is sent, what the server took for it, what Kafka has of it.

Main thread of the benchmark. CPU-seconds are those of the server's processes, up to the last record in Kafka: what is
accepted and not yet delivered costs too.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench import wrk
from bench.payloads import bodies
from bench.processes import Companion, ResidentPeak, cpu_s
from bench.report import Measurement
from bench.rows import Load, Row
from bench.servers import Server, body_files, total
from bench.topic_end import TopicEnd
from forebay.local.command import LocalServiceError

WARM_UP_S: Final = 1.0
BODIES: Final = 8
ACK_REQUESTS: Final = "forebay_ack_requests_total"
SENT_BYTES: Final = "forebay_producer_sent_bytes_total"
# Longer than two of the statistics intervals that the servers of the wire rows are given.
STATISTICS_STILL_S: Final = 0.6


class Cost:
    """What a server took while this context lasted. Raises when one of its processes died meanwhile."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pids = server.service.pids()
        self._peak = ResidentPeak(self._pids)
        self.cpu_s = 0.0

    def __enter__(self) -> Self:
        self._begun_cpu_s = cpu_s(self._pids)
        self._peak.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._peak.__exit__(kind, error, at)
        if self._server.service.pids() != self._pids:
            raise LocalServiceError("a process of the server under load died: see the logs in var/bench/site/log")
        self.cpu_s = cpu_s(self._pids) - self._begun_cpu_s

    def per_s(self, events: int) -> float | None:
        return events / self.cpu_s if self.cpu_s else None

    @property
    def worker_mb(self) -> float:
        return self._peak.largest_mb

    @property
    def server_mb(self) -> float:
        return self._peak.total_mb


@dataclass
class Measuring:
    """What all measurements share."""

    key: str
    topic_end: TopicEnd
    seconds_s: float

    def raw_loop(self, companion: Companion) -> Measurement:
        found = companion.ask(f"{self.seconds_s}")
        return Measurement(
            events=found["delivered"],
            events_per_server_cpu_s=found["delivered"] / found["cpu_s"],
            events_per_wall_s=found["delivered"] / found["wall_s"],
            worker_resident_peak_mb=found["resident_peak_mb"],
            server_resident_peak_mb=found["resident_peak_mb"],
            missing_events=found["failed"],
        )

    def null_view(self, server: Server, row: Row) -> Measurement:
        """Requests stand for events."""
        load, files = _load_of(row)
        wrk.run(server.url(load.path), files, min(WARM_UP_S, self.seconds_s), "")
        with Cost(server) as cost:
            found = wrk.run(server.url(load.path), files, self.seconds_s, "")
        return _closed(found, cost, found.requests, load)

    def closed(self, server: Server, row: Row) -> Measurement:
        load, files = _load_of(row)
        url = server.url(load.path)
        wrk.run(url, files, min(WARM_UP_S, self.seconds_s), self.key)
        before, acks_before = self.topic_end.when_still(), _acks(server)
        with Cost(server) as cost:
            found = wrk.run(url, files, self.seconds_s, self.key)
            sent = (found.requests - found.refused) * load.events
            stored = self.topic_end.when_still(before + sent) - before
        asked, reported = (after - earlier for after, earlier in zip(_acks(server), acks_before, strict=True))
        return _closed(found, cost, stored, load, pending_ratio=1 - reported / asked if asked else None)

    def single_paced(self, server: Server, client: Companion) -> Measurement:
        before = self.topic_end.when_still()
        with Cost(server) as cost:
            found = client.ask(f"singles {server.port} {self.seconds_s}")
            stored = self.topic_end.when_still(before + found["sent_events"]) - before
        return _paced(found, cost, stored, found["latency_ms"], found["sent_events"] - stored)

    def to_consumer(self, server: Server, client: Companion) -> Measurement:
        before = self.topic_end.when_still()
        with Companion("bench.arrivals") as arrivals, Cost(server) as cost:
            found = client.ask(f"batches {server.port} {self.seconds_s}")
            arrived = arrivals.ask(f"{found['measured_events']}")
            stored = self.topic_end.when_still(before + found["sent_events"]) - before
        return _paced(found, cost, stored, arrived["latency_ms"], found["measured_events"] - arrived["events"])

    def fixed(self, server: Server, client: Companion) -> Measurement:
        bytes_before = self._sent_bytes(server)
        before = self.topic_end.when_still()
        with Cost(server) as cost:
            found = client.ask(f"fixed {server.port}")
            stored = self.topic_end.when_still(before + found["sent_events"]) - before
        return Measurement(
            events=stored,
            events_per_server_cpu_s=cost.per_s(stored),
            events_per_wall_s=found["sent_events"] / found["wall_s"],
            worker_resident_peak_mb=cost.worker_mb,
            server_resident_peak_mb=cost.server_mb,
            wire_bytes_per_event=(self._sent_bytes(server) - bytes_before) / stored,
            failed_requests=found["failed"],
            missing_events=max(0, found["sent_events"] - stored),
        )

    def _sent_bytes(self, server: Server) -> float:
        """When librdkafka's statistics have caught up."""
        before, now = -1.0, total(server.samples(), SENT_BYTES)
        while before != now:
            time.sleep(STATISTICS_STILL_S)
            before, now = now, total(server.samples(), SENT_BYTES)
        return now


def _closed(found: wrk.Closed, cost: Cost, events: int, load: Load, pending_ratio: float | None = None) -> Measurement:
    sent = (found.requests - found.refused) * load.events
    return Measurement(
        events=events,
        events_per_server_cpu_s=cost.per_s(events),
        events_per_wall_s=sent / found.duration_us * 1e6,
        latency_p50_ms=found.p50_us / 1000,
        latency_p95_ms=found.p95_us / 1000,
        latency_p99_ms=found.p99_us / 1000,
        worker_resident_peak_mb=cost.worker_mb,
        server_resident_peak_mb=cost.server_mb,
        pending_ratio=pending_ratio,
        failed_requests=found.refused + found.broken,
        missing_events=max(0, sent - events),
    )


def _paced(
    found: dict[str, float], cost: Cost, stored: int, latency_ms: list[float | None], missing: float
) -> Measurement:
    p50, p95, p99 = latency_ms
    return Measurement(
        events=stored,
        events_per_server_cpu_s=cost.per_s(stored),
        events_per_wall_s=found["sent_events"] / found["wall_s"],
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        worker_resident_peak_mb=cost.worker_mb,
        server_resident_peak_mb=cost.server_mb,
        client_late_p99_ms=found["late_p99_ms"],
        failed_requests=found["failed"],
        missing_events=max(0, missing),
    )


def _acks(server: Server) -> tuple[float, float]:
    """Requests that asked for an acknowledgement, and those of them that got one."""
    samples = server.samples()
    return total(samples, ACK_REQUESTS), total(samples, ACK_REQUESTS, outcome="reported")


def _load_of(row: Row) -> tuple[Load, list[Path]]:
    load = row.load
    assert load is not None, row.name  # noqa: S101  # only rows that wrk sends come here
    return load, body_files(row.name, bodies(BODIES, load.events, load.event_bytes))
