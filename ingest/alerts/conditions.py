"""Control plane, pure: what was observed, compared with the thresholds; each condition that holds is a finding.

What could not be observed is unknown, which is neither good nor bad: its incidents stay as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from ingest.alerts.kinds import Kind
from ingest.dataplane.policy import UnusableTopic
from ingest.heartbeats import BreakerStatus, WorkerStatus, breaker_name
from ingest.journal_reports import FlowReport
from ingest.unusable_topics import in_words, stuck_topics

GIB = 1 << 30
BREAKER_CLOSED = "CLOSED"
LEDGER_CHECK_STALE_S = 900.0
WHOLE_PLATFORM = "platform"
_FROM_THE_DATABASE = frozenset({Kind.DEAD_LETTERS_AGEING, Kind.REDIS_AWAY})


class LedgerCheck(msgspec.Struct, frozen=True):
    """The last result of `manage.py ledger_check`, as it lies in Redis."""

    at_wall_s: float = 0.0
    mismatches: tuple[str, ...] = ()


class Parked(msgspec.Struct, frozen=True):
    """Why the events of a (tenant, topic) are held, as it lies in Redis."""

    code: str = "unreadable"
    detail: str = ""
    since_wall_ms: int = 0
    pending: int = 0


@dataclass(frozen=True, kw_only=True)
class RedisView:
    """What Redis had to tell; `flows` by the worker that tells of them, `unusable` by the topic's name."""

    workers: Sequence[WorkerStatus] = ()
    parked: dict[tuple[str, str], Parked] = field(default_factory=dict)
    ledger: LedgerCheck = field(default_factory=LedgerCheck)
    flows: dict[str, Sequence[FlowReport]] = field(default_factory=dict)
    unusable: dict[str, UnusableTopic] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything at one moment. `redis` is None when it did not answer."""

    wall_s: float
    redis: RedisView | None
    control_plane_version: int = 0
    oldest_dead_letter_age_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Beyond these a condition holds; docs/settings.md has the setting of each."""

    buffer_ratio: float
    produce_p99_ms: float
    error_ratio: float
    dead_letter_age_s: float
    worker_missing_s: float
    disk_ratio: float
    snapshot_behind_s: float
    backlog_age_s: float


@dataclass(frozen=True)
class Finding:
    """A condition that holds: what, of what, and how it looks."""

    kind: Kind
    subject: str
    value: str


def unknown_kinds(observed: Observed) -> frozenset[Kind]:
    """Of what nothing can be said now."""
    return frozenset() if observed.redis else frozenset(Kind) - _FROM_THE_DATABASE


def findings(observed: Observed, thresholds: Thresholds) -> list[Finding]:
    """Every condition that holds, at most one of a kind and subject."""
    found = list(_of_the_table(observed, thresholds))
    if observed.redis is None:
        return [Finding(Kind.REDIS_AWAY, "redis", "It does not answer the evaluation of the alerts."), *found]
    missing, _ = missing_and_replaced(observed.redis.workers, observed.wall_s, thresholds.worker_missing_s)
    living = living_workers(observed.redis.workers, observed.wall_s, thresholds.worker_missing_s)
    found += [_missing(worker, observed.wall_s) for worker in missing]
    for worker in living:
        found += _of_a_worker(worker, observed, thresholds)
    found += [*_of_nodes(living, thresholds), *_of_the_platform(living, thresholds), *_of_breakers(living)]
    found += _of_backlogs(living, observed, thresholds)
    return [*found, *_of_parked(observed.redis.parked), *_of_the_ledger(observed.redis.ledger, observed.wall_s)]


def living_workers(workers: Sequence[WorkerStatus], wall_s: float, missing_s: float) -> list[WorkerStatus]:
    """Those whose heart has beaten lately. Clocks of nodes may differ by a small part of `missing_s`."""
    return [worker for worker in workers if wall_s - worker.seen_wall_s <= missing_s]


def missing_and_replaced(
    workers: Sequence[WorkerStatus], wall_s: float, missing_s: float
) -> tuple[list[WorkerStatus], list[WorkerStatus]]:
    """Workers that stopped without a goodbye, and those of them for whom their node has begun another since.

    The oldest is replaced first, and each new worker replaces one.
    """
    living = living_workers(workers, wall_s, missing_s)
    silent = sorted((worker for worker in workers if worker not in living), key=lambda worker: worker.seen_wall_s)
    missing, replaced = [], []
    for worker in silent:
        successor = next((one for one in living if _succeeds(one, worker)), None)
        if successor is None:
            missing.append(worker)
        else:
            living.remove(successor)
            replaced.append(worker)
    return missing, replaced


def _succeeds(living: WorkerStatus, silent: WorkerStatus) -> bool:
    # A second for the last beat of the one, which may have been on its way when the other began.
    return living.node == silent.node and living.started_wall_s > silent.seen_wall_s - 1.0


def _missing(worker: WorkerStatus, wall_s: float) -> Finding:
    pending = f", with {worker.journal_pending_events:,} events pending" if worker.journal_pending_events else ""
    value = f"Last heard of {wall_s - worker.seen_wall_s:.0f} s ago, without a goodbye{pending}."
    return Finding(Kind.WORKER_MISSING, worker.name, value)


def _of_a_worker(worker: WorkerStatus, observed: Observed, thresholds: Thresholds) -> Iterator[Finding]:
    if worker.journal_max_bytes and worker.journal_used_bytes > thresholds.buffer_ratio * worker.journal_max_bytes:
        share = worker.journal_used_bytes / worker.journal_max_bytes
        value = f"{share:.0%} of {worker.journal_max_bytes / GIB:.3g} GiB used."
        yield Finding(Kind.BUFFER_FILLING, f"journal of {worker.name}", value)
    if worker.queue_utilisation_ratio > thresholds.buffer_ratio:
        value = f"{worker.queue_utilisation_ratio:.0%} of its bytes used."
        yield Finding(Kind.BUFFER_FILLING, f"producer queue of {worker.name}", value)
    if worker.produce_p99_ms is not None and worker.produce_p99_ms > thresholds.produce_p99_ms:
        value = f"p99 {worker.produce_p99_ms:,.0f} ms from accepted to acknowledged, over the last minute."
        yield Finding(Kind.PRODUCE_SLOW, worker.name, value)
    # A version is never behind the wall clock in ms of its change. Changes more frequent than the threshold hide a
    # worker that follows none of them: accepted, they are made by people.
    behind_s = observed.wall_s - observed.control_plane_version / 1000
    if (worker.snapshot_version or 0) < observed.control_plane_version and behind_s > thresholds.snapshot_behind_s:
        value = f"A change of {behind_s:,.0f} s ago has not reached it."
        yield Finding(Kind.SNAPSHOT_BEHIND, worker.name, value)


def _of_nodes(living: Sequence[WorkerStatus], thresholds: Thresholds) -> Iterator[Finding]:
    """What all workers of a node see alike; the latest of them tells."""
    latest = {worker.node: worker for worker in sorted(living, key=lambda worker: worker.seen_wall_s)}
    for node, worker in sorted(latest.items()):
        if worker.damaged_segments:
            value = f"{worker.damaged_segments} files were set aside because they could not be read."
            yield Finding(Kind.JOURNAL_DAMAGED, node, value)
        used = 1 - worker.disk_free_bytes / worker.disk_total_bytes if worker.disk_total_bytes else 0.0
        if used > thresholds.disk_ratio:
            value = f"{used:.0%} of the journal's disk used, {worker.disk_free_bytes / GIB:.1f} GiB left."
            yield Finding(Kind.DISK_FILLING, node, value)


def _of_the_platform(living: Sequence[WorkerStatus], thresholds: Thresholds) -> Iterator[Finding]:
    errors = sum(worker.delivery_errors_last_minute for worker in living)
    tried = errors + sum(worker.delivered_last_minute_events for worker in living)
    if errors and errors > thresholds.error_ratio * tried:
        value = f"{errors:,.0f} of {tried:,.0f} deliveries failed within the last minute, {errors / tried:.2%}."
        yield Finding(Kind.DELIVERY_ERRORS, WHOLE_PLATFORM, value)


def _of_breakers(living: Sequence[WorkerStatus]) -> Iterator[Finding]:
    newest: dict[str, BreakerStatus] = {}
    for breaker in (breaker for worker in living for breaker in worker.breakers if breaker.state != BREAKER_CLOSED):
        if breaker.name not in newest or breaker.since_wall_ms > newest[breaker.name].since_wall_ms:
            newest[breaker.name] = breaker
    for name, breaker in sorted(newest.items()):
        because = f": {breaker.cause}" if breaker.cause else "."
        yield Finding(Kind.BREAKER_NOT_CLOSED, name, f"It is {breaker.state}{because}")


def _of_parked(parked: dict[tuple[str, str], Parked]) -> Iterator[Finding]:
    for (tenant, topic), why in sorted(parked.items()):
        detail = f" ({why.detail})" if why.detail else ""
        yield Finding(Kind.TOPIC_PARKED, f"{topic} of {tenant}", f"{why.code}{detail}, {why.pending:,} events wait.")


def _of_backlogs(living: Sequence[WorkerStatus], observed: Observed, thresholds: Thresholds) -> Iterator[Finding]:
    if observed.redis is None:
        return
    told = observed.redis.flows
    flows = [flow for worker in living for flow in told.get(worker.name, ())]
    held = {breaker.name for worker in living for breaker in worker.breakers if breaker.state != BREAKER_CLOSED}
    for one in stuck_topics(flows, observed.redis.unusable, held, observed.wall_s, thresholds.backlog_age_s):
        if one.unusable:
            why = f"It cannot be used: {in_words(one.unusable)}."
        else:
            why = f"The oldest has waited for over {thresholds.backlog_age_s:.0f} s, though its breaker is closed."
        yield Finding(Kind.TOPIC_BEHIND, breaker_name(one.topic), f"{one.events:,} events wait. {why}")


def _of_the_ledger(ledger: LedgerCheck, wall_s: float) -> Iterator[Finding]:
    if ledger.mismatches:
        first, others = ledger.mismatches[0], len(ledger.mismatches) - 1
        yield Finding(Kind.LEDGER_MISMATCH, WHOLE_PLATFORM, f"{first} (and {others} more)" if others else first)
    elif ledger.at_wall_s and wall_s - ledger.at_wall_s > LEDGER_CHECK_STALE_S:
        value = f"It was last checked {(wall_s - ledger.at_wall_s) / 60:.0f} minutes ago: nobody knows."
        yield Finding(Kind.LEDGER_MISMATCH, WHOLE_PLATFORM, value)


def _of_the_table(observed: Observed, thresholds: Thresholds) -> Iterator[Finding]:
    age_s = observed.oldest_dead_letter_age_s
    if age_s is not None and age_s > thresholds.dead_letter_age_s:
        value = f"The oldest has waited for {age_s / 3600:.1f} h."
        yield Finding(Kind.DEAD_LETTERS_AGEING, WHOLE_PLATFORM, value)
