"""Which observations are findings: each threshold from both sides, and what is said about what cannot be seen."""

from typing import Any

import pytest

from ingest.alerts.conditions import (
    Finding,
    LedgerCheck,
    Observed,
    Parked,
    RedisView,
    Thresholds,
    findings,
    missing_and_replaced,
    unknown_kinds,
)
from ingest.alerts.kinds import Kind
from ingest.dataplane.policy import UnusableTopic
from ingest.heartbeats import BreakerStatus, WorkerStatus, breaker_name
from ingest.journal_reports import FlowReport

WALL_S = 1_900_000_000.0
MINUTE = int(WALL_S // 60)
THRESHOLDS = Thresholds(
    buffer_ratio=0.8,
    produce_p99_ms=500,
    error_ratio=0.001,
    dead_letter_age_s=3_600,
    worker_missing_s=15,
    disk_ratio=0.9,
    snapshot_behind_s=60,
    backlog_age_s=300,
)


def worker(
    pid: int = 7, node: str = "n1", silent_s: float = 0.5, started_s: float = 1_000, **fields: Any
) -> WorkerStatus:
    return WorkerStatus(node=node, pid=pid, started_wall_s=WALL_S - started_s, seen_wall_s=WALL_S - silent_s, **fields)


def observed(*workers: WorkerStatus, version: int = 0, **view: Any) -> Observed:
    return Observed(wall_s=WALL_S, redis=RedisView(workers=workers, **view), control_plane_version=version)


def found(*workers: WorkerStatus, **rest: Any) -> list[tuple[Kind, str]]:
    return [(finding.kind, finding.subject) for finding in findings(observed(*workers, **rest), THRESHOLDS)]


def test_a_healthy_platform_has_no_findings() -> None:
    healthy = worker(
        journal_used_bytes=80,
        journal_max_bytes=100,
        queue_utilisation_ratio=0.8,
        produce_p99_ms=500,
        delivered_last_minute_events=999,
        delivery_errors_last_minute=1,
        breakers=(BreakerStatus(name="cluster", state="CLOSED"),),
        disk_free_bytes=10,
        disk_total_bytes=100,
        snapshot_version=5,
    )

    assert found(healthy, version=5) == []


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"journal_used_bytes": 81, "journal_max_bytes": 100}, (Kind.BUFFER_FILLING, "journal of n1/7")),
        ({"queue_utilisation_ratio": 0.81}, (Kind.BUFFER_FILLING, "producer queue of n1/7")),
        ({"produce_p99_ms": 501}, (Kind.PRODUCE_SLOW, "n1/7")),
        (
            {"delivered_last_minute_events": 998, "delivery_errors_last_minute": 1},
            (Kind.DELIVERY_ERRORS, "platform"),
        ),
        ({"breakers": (BreakerStatus(name="the cluster", state="OPEN"),)}, (Kind.BREAKER_NOT_CLOSED, "the cluster")),
        ({"breakers": (BreakerStatus(name="logs", state="HALF_OPEN"),)}, (Kind.BREAKER_NOT_CLOSED, "logs")),
        ({"breakers": (BreakerStatus(name="logs", state="FORCED_OPEN"),)}, (Kind.BREAKER_NOT_CLOSED, "logs")),
        ({"breakers": (BreakerStatus(name="logs", state="DISABLED"),)}, (Kind.BREAKER_NOT_CLOSED, "logs")),
        ({"damaged_segments": 1}, (Kind.JOURNAL_DAMAGED, "n1")),
        ({"disk_free_bytes": 9, "disk_total_bytes": 100}, (Kind.DISK_FILLING, "n1")),
    ],
)
def test_a_worker_beyond_a_threshold_is_a_finding(fields: dict[str, Any], finding: tuple[Kind, str]) -> None:
    assert found(worker(**fields)) == [finding]


def test_errors_of_all_workers_are_weighed_together() -> None:
    busy = worker(1, delivered_last_minute_events=1_000_000)
    unlucky = worker(2, delivered_last_minute_events=10, delivery_errors_last_minute=5)

    assert found(busy, unlucky) == []


def test_a_topic_that_is_called_cluster_has_an_incident_of_its_own() -> None:
    breakers = tuple(BreakerStatus(name=breaker_name(topic), state="OPEN") for topic in ("", "cluster", "the-cluster"))

    subjects = [subject for _, subject in found(worker(1, breakers=breakers))]

    assert subjects == ["the cluster", "topic cluster", "topic the-cluster"]


def test_a_breaker_that_several_workers_see_is_one_finding_with_the_newest_state() -> None:
    first = worker(1, breakers=(BreakerStatus(name="logs", state="OPEN", since_wall_ms=4, cause="timeouts"),))
    second = worker(2, breakers=(BreakerStatus(name="logs", state="HALF_OPEN", since_wall_ms=5, cause="waited"),))

    values = [finding.value for finding in findings(observed(first, second), THRESHOLDS)]

    assert values == ["It is HALF_OPEN: waited"]


def test_what_a_node_has_once_is_not_found_once_a_worker() -> None:
    assert found(worker(1, damaged_segments=2), worker(2, damaged_segments=2)) == [(Kind.JOURNAL_DAMAGED, "n1")]


def test_a_worker_that_fell_silent_is_missing_and_its_last_figures_do_not_count() -> None:
    silent = worker(silent_s=16, queue_utilisation_ratio=1.0, journal_pending_events=1_200)

    (finding,) = findings(observed(silent), THRESHOLDS)

    assert (finding.kind, finding.subject) == (Kind.WORKER_MISSING, "n1/7")
    assert finding.value == "Last heard of 16 s ago, without a goodbye, with 1,200 events pending."


def test_a_successor_on_the_same_node_replaces_one_dead_worker_and_no_more() -> None:
    earlier, later = worker(1, silent_s=90), worker(2, silent_s=60)
    successor = worker(3, started_s=50)

    missing, replaced = missing_and_replaced([later, earlier, successor], WALL_S, 15)

    assert (missing, replaced) == ([later], [earlier])


@pytest.mark.parametrize("other", [worker(3, node="n2", started_s=50), worker(3, started_s=500)])
def test_a_worker_elsewhere_or_from_before_replaces_nobody(other: WorkerStatus) -> None:
    dead = worker(1, silent_s=60)

    assert missing_and_replaced([dead, other], WALL_S, 15) == ([dead], [])


@pytest.mark.parametrize(("changed_s_ago", "expected"), [(59, []), (61, [(Kind.SNAPSHOT_BEHIND, "n1/7")])])
def test_a_worker_may_lack_a_change_for_as_long_as_the_threshold(
    changed_s_ago: int, expected: list[tuple[Kind, str]]
) -> None:
    version = int((WALL_S - changed_s_ago) * 1000)

    assert found(worker(snapshot_version=version - 1), version=version) == expected


def test_an_old_snapshot_that_lacks_nothing_is_fine() -> None:
    version = int((WALL_S - 86_400) * 1000)

    assert found(worker(snapshot_version=version, snapshot_age_s=86_400), version=version) == []


def test_a_worker_without_any_snapshot_lacks_every_change() -> None:
    assert found(worker(), version=int((WALL_S - 61) * 1000)) == [(Kind.SNAPSHOT_BEHIND, "n1/7")]


def test_each_parked_topic_is_named_with_its_tenant_and_why() -> None:
    parked = {("bolt", "audit"): Parked(code="TOPIC_AUTHORIZATION_FAILED", detail="denied", pending=1_500)}

    assert findings(observed(parked=parked), THRESHOLDS) == [
        Finding(Kind.TOPIC_PARKED, "audit of bolt", "TOPIC_AUTHORIZATION_FAILED (denied), 1,500 events wait.")
    ]


def backlog(*flows: FlowReport, breakers: tuple[BreakerStatus, ...] = ()) -> list[Finding]:
    small = UnusableTopic("pictures", "too_small", takes_bytes=2_000, batch_bytes=1_000_000)
    seen = observed(worker(breakers=breakers), flows={"n1/7": flows, "n1/gone": flows}, unusable={"pictures": small})
    return [one for one in findings(seen, THRESHOLDS) if one.kind is Kind.TOPIC_BEHIND]


def test_a_backlog_for_a_topic_that_cannot_be_used_is_told_at_once() -> None:
    found = backlog(FlowReport("acme", "pictures", 800, MINUTE), FlowReport("bolt", "pictures", 6, MINUTE))

    why = "806 events wait. It cannot be used: it takes 2,000 bytes at a time, and a batch has up to 1,000,000."
    assert found == [Finding(Kind.TOPIC_BEHIND, "topic pictures", why)]


@pytest.mark.parametrize(("minutes", "count"), [(5, 0), (6, 1)])
def test_a_backlog_for_any_other_topic_may_wait_as_long_as_the_threshold(minutes: int, count: int) -> None:
    assert len(backlog(FlowReport("acme", "logs", 8, MINUTE - minutes))) == count


@pytest.mark.parametrize("held", ["", "logs"])
def test_what_a_breaker_holds_or_somebody_has_parked_is_told_by_its_own_alert(held: str) -> None:
    old = MINUTE - 60
    opened = (BreakerStatus(name=breaker_name(held), state="OPEN"),)

    assert backlog(FlowReport("acme", "logs", 8, old), breakers=opened) == []
    assert backlog(FlowReport("acme", "logs", 8, old, "TOPIC_AUTHORIZATION_FAILED")) == []


def test_a_ledger_that_does_not_add_up_is_told_by_its_first_difference() -> None:
    ledger = LedgerCheck(at_wall_s=WALL_S, mismatches=("acme: 3 events unaccounted for", "bolt: 1"))

    (finding,) = findings(observed(ledger=ledger), THRESHOLDS)

    assert (finding.kind, finding.value) == (Kind.LEDGER_MISMATCH, "acme: 3 events unaccounted for (and 1 more)")


@pytest.mark.parametrize(("checked_s_ago", "count"), [(890, 0), (910, 1)])
def test_a_ledger_that_nobody_checks_any_more_is_no_ledger(checked_s_ago: float, count: int) -> None:
    ledger = LedgerCheck(at_wall_s=WALL_S - checked_s_ago)

    assert [finding.kind for finding in findings(observed(ledger=ledger), THRESHOLDS)] == [Kind.LEDGER_MISMATCH] * count


@pytest.mark.parametrize(("age_s", "count"), [(None, 0), (3_600.0, 0), (3_601.0, 1)])
def test_dead_letters_may_wait_as_long_as_the_threshold(age_s: float | None, count: int) -> None:
    aged = Observed(wall_s=WALL_S, redis=RedisView(), oldest_dead_letter_age_s=age_s)

    assert [finding.kind for finding in findings(aged, THRESHOLDS)] == [Kind.DEAD_LETTERS_AGEING] * count


def test_without_redis_that_is_the_finding_and_what_it_would_have_told_is_unknown() -> None:
    blind = Observed(wall_s=WALL_S, redis=None, oldest_dead_letter_age_s=7_200)

    assert [finding.kind for finding in findings(blind, THRESHOLDS)] == [Kind.REDIS_AWAY, Kind.DEAD_LETTERS_AGEING]
    assert {Kind.WORKER_MISSING, Kind.LEDGER_MISMATCH, Kind.TOPIC_PARKED} <= unknown_kinds(blind)
    assert not {Kind.REDIS_AWAY, Kind.DEAD_LETTERS_AGEING} & unknown_kinds(blind)
    assert unknown_kinds(observed()) == frozenset()
