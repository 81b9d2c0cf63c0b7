"""The sentence at the top of the overview: is it healthy, and if not, whose fault is it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from ingest.alerts.kinds import CAN_WAIT, Kind
from ingest.breaker_store import SharedStanding
from ingest.console import problems
from ingest.console.live import Live, totals_of
from ingest.console.problems import REDIS_AWAY, Problem
from ingest.dataplane.breaker import State
from ingest.heartbeats import WorkerStatus
from ingest.models import Incident
from ingest.parked import ParkedEntry
from ingest.unusable_topics import Stuck
from tests.unit.console.breaker_world import MINUTE, NOW_WALL_S, TOO_SMALL, parked, standing, worker

A_MINUTE_AGO = datetime.fromtimestamp(NOW_WALL_S - 60, UTC)


def live(
    *heard: WorkerStatus,
    missing: Sequence[WorkerStatus] = (),
    breakers: Sequence[SharedStanding] = (),
    topics: Sequence[ParkedEntry] = (),
    evaluated_wall_s: float | None = NOW_WALL_S,
    stuck: Sequence[Stuck] = (),
) -> Live:
    return Live(NOW_WALL_S, totals_of(heard), heard, missing, breakers, topics, (), (), evaluated_wall_s, stuck)


def problems_of(seen: Live | None, *alerts: Incident) -> list[Problem]:
    return problems.problems_of(seen, alerts, unwatched_s=60.0)


def alert(kind: Kind, subject: str = "node-1", value: str = "91% used.") -> Incident:
    return Incident(kind=kind, subject=subject, value=value, opened_at=A_MINUTE_AGO)


def test_a_platform_whose_workers_speak_and_whose_breakers_are_closed_is_healthy() -> None:
    assert problems_of(live(worker(), breakers=[standing("", State.CLOSED), standing("logs", State.CLOSED)])) == []


def test_without_redis_nothing_else_can_be_said() -> None:
    assert problems_of(None) == [REDIS_AWAY]


def test_an_open_breaker_is_kafka_s_fault_or_that_of_its_topic() -> None:
    moved = [standing("", State.OPEN, cause="timeouts"), standing("shop", State.HALF_OPEN, cause="not leader")]

    assert problems_of(live(worker(), breakers=moved)) == [
        Problem("Kafka", "fails, its breaker is OPEN: timeouts", "console:breakers", A_MINUTE_AGO),
        Problem("Topic shop", "fails, its breaker is HALF_OPEN: not leader", "console:breakers", A_MINUTE_AGO),
    ]


def test_what_an_operator_did_is_not_called_a_failure() -> None:
    forced = [standing("", State.FORCED_OPEN, cause="maintenance", by="olga")]

    (problem,) = problems_of(live(worker(), breakers=forced))

    assert problem.text == "is FORCED_OPEN by olga: maintenance"


def test_a_missing_worker_is_named_with_the_moment_of_its_last_word() -> None:
    (problem,) = problems_of(live(worker(1), missing=[worker(2, is_missing=True)]))

    assert (problem.owner, problem.since) == ("Forebay", datetime.fromtimestamp(NOW_WALL_S - 300, UTC))
    assert "node-1/2" in problem.text


def test_no_worker_at_all_means_that_nothing_is_accepted() -> None:
    found = problems_of(live(missing=[worker(2, is_missing=True)]))

    assert ["nothing is accepted" in problem.text for problem in found] == [True, False]


def test_a_parked_topic_says_for_whom_how_much_and_why() -> None:
    (problem,) = problems_of(live(worker(), topics=[parked("acme", "audit", pending=1_200)]))

    assert problem.owner == "Topic audit"
    assert problem.text.startswith("is parked for acme, 1,200 events wait: TOPIC_AUTHORIZATION_FAILED")
    assert problem.since == A_MINUTE_AGO


def test_a_buffer_is_a_problem_above_four_fifths_and_not_before() -> None:
    full = worker(1, journal_used_bytes=81, journal_max_bytes=100, queue_utilisation_ratio=0.8)
    fuller = worker(2, journal_used_bytes=10, journal_max_bytes=100, queue_utilisation_ratio=0.95)

    assert [problem.text for problem in problems_of(live(full))] == ["has a journal that is 81% full."]
    assert len(problems_of(live(full, fuller))) == 2  # of two workers the fullest is told


def test_events_that_wait_while_nothing_is_acknowledged_are_kafka_s_before_any_breaker_opens() -> None:
    waiting = live(worker(1, journal_pending_events=3), worker(2), breakers=[standing("", State.CLOSED)])

    (problem,) = problems_of(waiting)

    assert (problem.owner, problem.text) == (
        "Kafka",
        "has acknowledged nothing in the last minute, and 3 events wait.",
    )


def test_events_that_wait_for_their_turn_or_for_a_parked_topic_are_not_kafka_s() -> None:
    flowing = worker(1, journal_pending_events=3, delivered_last_minute_events=1)
    behind_a_topic = live(worker(1, journal_pending_events=7), topics=[parked("acme", "audit", pending=7)])

    assert problems_of(live(flowing)) == []
    assert [problem.owner for problem in problems_of(behind_a_topic)] == ["Topic audit"]


def test_a_topic_that_cannot_be_used_is_the_problem_whether_or_not_others_flow() -> None:
    stuck = [Stuck("pictures", 806, MINUTE - 3, TOO_SMALL)]

    for delivered in (500, 0):
        heard = worker(1, journal_pending_events=806, delivered_last_minute_events=delivered)
        (problem,) = problems_of(live(heard, stuck=stuck))
        assert problem.owner == "Topic pictures"
        assert problem.text.startswith("cannot be used, 806 events wait: it takes 2,000 bytes at a time")


def test_a_topic_that_is_long_behind_is_a_problem_of_its_own_unless_kafka_is_silent() -> None:
    stuck = [Stuck("logs", 9, MINUTE - 7, None)]
    flowing = worker(1, journal_pending_events=9, delivered_last_minute_events=1)

    (behind,) = problems_of(live(flowing, stuck=stuck))
    (silent,) = problems_of(live(worker(1, journal_pending_events=9), stuck=stuck))

    assert (behind.owner, silent.owner) == ("Topic logs", "Kafka")
    assert behind.text == "is behind though its breaker is closed: 9 events wait, the oldest for 6 min."


def test_an_open_breaker_says_it_all_and_silence_is_not_told_twice() -> None:
    found = problems_of(live(worker(1, journal_pending_events=3), breakers=[standing("", State.OPEN)]))

    assert [problem.text for problem in found] == ["fails, its breaker is OPEN: "]


def test_an_urgent_alert_is_a_problem_that_the_workers_themselves_do_not_tell() -> None:
    (problem,) = problems_of(live(worker()), alert(Kind.DISK_FILLING))

    assert (problem.owner, problem.text) == ("Forebay", "alerts that a disk is nearly full (node-1): 91% used.")
    assert problem.since == A_MINUTE_AGO


@pytest.mark.parametrize("kind", sorted({*CAN_WAIT, Kind.BREAKER_NOT_CLOSED, Kind.WORKER_MISSING, Kind.REDIS_AWAY}))
def test_an_alert_that_can_wait_or_whose_cause_is_seen_live_and_over_is_none(kind: Kind) -> None:
    assert problems_of(live(worker(), breakers=[standing("", State.CLOSED)]), alert(kind)) == []


def test_alerts_are_told_though_redis_is_away() -> None:
    assert problems_of(None, alert(Kind.LEDGER_MISMATCH))[0] == REDIS_AWAY
    assert len(problems_of(None, alert(Kind.LEDGER_MISMATCH))) == 2


def test_alerts_that_nobody_evaluates_are_a_problem_once_the_platform_has_run_for_a_while() -> None:
    old, young = worker(1), worker(2, started_wall_s=NOW_WALL_S - 30)

    assert problems_of(live(young, evaluated_wall_s=None)) == []
    for seen in (live(old, young, evaluated_wall_s=None), live(young, evaluated_wall_s=NOW_WALL_S - 61)):
        (problem,) = problems_of(seen)
        assert problem.text.startswith("evaluates no alerts")
