"""What the pages say of breakers, topics and backlogs, of workers that are made up."""

import pytest

from ingest.breaker_reports import BreakerReport, FailureReport
from ingest.console.ages import age_in_words, age_of_minute
from ingest.console.breakers_facts import breaker_facts, faults_of
from ingest.console.breakers_topics import topic_rows, waiting_of
from ingest.dataplane.breaker import State
from ingest.dataplane.policy import UnusableTopic
from ingest.journal_reports import FlowReport
from ingest.rules.facts import policies_of
from tests.unit.console.breaker_world import (
    MINUTE,
    NOW_WALL_MS,
    NOW_WALL_S,
    TOO_SMALL,
    Platform,
    breakers,
    journals,
    parked,
    standing,
    worker,
)
from tests.unit.rules.world import facts


def report(topic: str, state: State = State.CLOSED, known: int = 0, failed: int = 0, *why: str) -> BreakerReport:
    failures = tuple(FailureReport(NOW_WALL_MS - 1000 * at, 2, code) for at, code in enumerate(why))
    return BreakerReport(topic, state, NOW_WALL_MS, known, failed, failures)


def test_a_breaker_is_shown_as_each_worker_has_it_and_who_says_nothing_is_missing() -> None:
    platform = Platform(
        heard=[worker(1), worker(2)],
        missing=[worker(3, is_missing=True)],
        standings=[standing("", State.FORCED_OPEN, cause="brokers are moved", by="ops")],
        breakers={
            "node-1/1": breakers(report("", State.FORCED_OPEN)),
            "node-1/2": breakers(report("", known=9, failed=1)),
        },
    )

    facts = breaker_facts(platform.look(), "")

    assert [(one.worker, one.state, one.failed, one.is_missing) for one in facts.in_workers] == [
        ("node-1/1", State.FORCED_OPEN, 0, False),
        ("node-1/2", State.CLOSED, 1, False),
        ("node-1/3", State.CLOSED, 0, True),
    ]
    assert (facts.standing.by, facts.standing.cause) == ("ops", "brokers are moved")


def test_only_what_changes_something_is_offered() -> None:
    platform = Platform(standings=[standing("", State.FORCED_OPEN), standing("logs", State.OPEN)])

    offered = [[kind for kind, _ in breaker_facts(platform.look(), topic).offered] for topic in ("", "logs", "audit")]

    assert offered == [["RESET", "DISABLED"], ["RESET", "FORCED_OPEN", "DISABLED"], ["FORCED_OPEN", "DISABLED"]]


def test_failures_of_all_workers_are_told_newest_first_with_whose_fault_they_are() -> None:
    platform = Platform(
        heard=[worker(1), worker(2)],
        breakers={
            "node-1/1": breakers(report("logs", State.OPEN, 0, 0, "_TRANSPORT", "no report for 5 s")),
            "node-1/2": breakers(report("logs", State.OPEN, 0, 0, "NOT_ENOUGH_REPLICAS/MSG_SIZE_TOO_LARGE")),
        },
    )

    failures = breaker_facts(platform.look(), "logs").failures

    assert failures[-1].code == "no report for 5 s"
    assert {(one.code, one.fault) for one in failures} == {
        ("_TRANSPORT", "cluster"),
        ("NOT_ENOUGH_REPLICAS/MSG_SIZE_TOO_LARGE", "cluster, record"),
        ("no report for 5 s", "cluster"),
    }


@pytest.mark.parametrize(
    ("why", "fault"), [("", ""), ("TOPIC_AUTHORIZATION_FAILED", "topic"), ("SOMETHING_NEW", "cluster")]
)
def test_a_code_is_whose_fault_the_table_says(why: str, fault: str) -> None:
    assert faults_of(why) == fault


def test_topics_in_trouble_come_before_those_that_are_well() -> None:
    platform = Platform(
        topics={"audit": 3, "logs": 6, "payments": 1, "quiet": 1},
        standings=[standing("", State.CLOSED), standing("payments", State.OPEN, cause="5 of the last 5 calls failed")],
        parked=[parked("acme", "logs")],
        journals={"node-1/1": journals(FlowReport("acme", "lost", 3, MINUTE - 10))},
    )

    rows = topic_rows(platform.look())

    assert [row.topic for row in rows] == ["payments", "lost", "logs", "audit", "quiet"]
    assert [row.is_well for row in rows] == [False, False, False, True, True]
    assert (rows[1].partitions, rows[1].events, rows[1].oldest) == (None, 3, "9 min")
    assert (rows[2].partitions, rows[2].parked) == (6, 1)


def test_a_topic_that_cannot_be_used_is_told_with_the_reason_and_with_what_to_do() -> None:
    hidden = UnusableTopic("hidden", "forbidden")
    platform = Platform(
        topics={"logs": 6},
        unusable=[TOO_SMALL, hidden, UnusableTopic("of-a-former-rule", "absent")],
        rules=policies_of([facts(1, topic="hidden")]),
        journals={"node-1/1": journals(FlowReport("acme", "pictures", 3, MINUTE - 10))},
    )

    pictures, nobodys, logs = topic_rows(platform.look())
    (waiting,) = waiting_of(platform.look())

    assert [row.is_well for row in (pictures, nobodys, logs)] == [False, False, True]
    assert pictures.cannot_be_used == "it takes 2,000 bytes at a time, and a batch has up to 1,000,000"
    assert "max.message.bytes" in pictures.what_to_do
    assert (nobodys.topic, nobodys.cannot_be_used) == ("hidden", "Forebay may not describe it")
    assert logs.cannot_be_used == ""
    assert waiting.why == f"the topic cannot be used: {pictures.cannot_be_used}"


def test_a_topic_is_found_by_a_part_of_its_name() -> None:
    platform = Platform(topics={"audit": 3, "shop.logs": 6, "logs": 1})

    assert [row.topic for row in topic_rows(platform.look(), "log")] == ["logs", "shop.logs"]


def test_a_topics_window_is_that_of_all_workers_together() -> None:
    platform = Platform(
        topics={"logs": 6},
        breakers={
            "node-1/1": breakers(report("logs", known=10, failed=2)),
            "node-1/2": breakers(report("logs", known=5)),
        },
    )

    (row,) = topic_rows(platform.look())

    assert (row.failed, row.known) == (2, 15)


def test_what_several_workers_have_of_a_tenants_events_is_added_up_and_is_as_old_as_the_oldest() -> None:
    platform = Platform(
        topics={"logs": 6},
        journals={
            "node-1/1": journals(FlowReport("acme", "logs", 5, MINUTE - 2), FlowReport("bolt", "logs", 6, None)),
            "node-1/2": journals(FlowReport("acme", "logs", 7, MINUTE - 9)),
        },
    )

    acme, bolt = waiting_of(platform.look())

    assert (acme.tenant, acme.events, acme.oldest) == ("acme", 12, "8 min")
    assert (bolt.events, bolt.oldest) == (6, "")


def test_a_parked_flow_is_told_once_with_its_code_and_the_age_of_its_oldest_event() -> None:
    platform = Platform(
        parked=[parked("acme", "logs", pending=7)],
        journals={"node-1/1": journals(FlowReport("acme", "logs", 7, MINUTE - 3, "TOPIC_AUTHORIZATION_FAILED"))},
    )

    (row,) = waiting_of(platform.look(), "logs")

    assert (row.is_parked, row.events, row.oldest) == (True, 7, "2 min")
    assert row.why == "TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed"


@pytest.mark.parametrize(
    ("standings", "topics", "why"),
    [
        ([standing("", State.OPEN)], {"logs": 1}, "the cluster's breaker is OPEN"),
        ([standing("logs", State.FORCED_OPEN)], {"logs": 1}, "its topic's breaker is FORCED_OPEN"),
        ([], {}, "the topic has not been seen in the cluster"),
        ([standing("", State.DISABLED)], {"logs": 1}, "it is on its way out, the oldest first"),
    ],
)
def test_who_waits_is_told_what_for(standings: list[object], topics: dict[str, int], why: str) -> None:
    platform = Platform(
        standings=standings,  # type: ignore[arg-type]  # of the cases above
        topics=topics,
        journals={"node-1/1": journals(FlowReport("acme", "logs", 1, MINUTE))},
    )

    (row,) = waiting_of(platform.look())

    assert row.why == why


@pytest.mark.parametrize(
    ("age_s", "words"),
    [(0, "under a minute"), (59.9, "under a minute"), (60, "1 min"), (3_700, "1 h 1 min"), (90_061, "1 d 1 h")],
)
def test_an_age_is_told_in_its_two_largest_units(age_s: float, words: str) -> None:
    assert age_in_words(age_s) == words


def test_an_age_that_is_known_to_the_minute_is_not_overstated() -> None:
    assert age_of_minute(MINUTE, NOW_WALL_S) == "under a minute"
    assert age_of_minute(None, NOW_WALL_S) == ""
