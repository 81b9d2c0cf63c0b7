"""What an operator's word will do is told before, in figures of now; and afterwards who has taken it in."""

import pytest

from ingest.console.breakers_words import effects, state_of, taken, title_of
from ingest.dataplane.breaker import State
from ingest.journal_reports import FlowReport
from ingest.models import Override
from tenants.models import ControlPlaneVersion
from tests.unit.console.breaker_world import GIB, MINUTE, Platform, journals, parked, standing, worker


def busy() -> Platform:
    return Platform(
        heard=[
            worker(1, in_flight_events=1_200, journal_pending_events=30, journal_used_bytes=GIB),
            worker(2, in_flight_events=34, journal_pending_events=4),
        ],
        standings=[standing("", State.OPEN, cause="5 of the last 5 calls failed")],
        parked=[parked("acme", "audit", pending=30)],
        journals={
            "node-1/1": journals(
                FlowReport("acme", "audit", 30, MINUTE - 4, "TOPIC_AUTHORIZATION_FAILED"),
                FlowReport("bolt", "audit", 4, MINUTE - 2),
            )
        },
    )


def told(kind: str, topic: str = "", tenant: str = "") -> str:
    return " ".join(effects(Override(kind=kind, topic=topic, tenant=tenant), busy().look()))


def test_forcing_the_cluster_open_says_what_is_stopped_and_what_waits() -> None:
    words = told("FORCED_OPEN")

    assert "Nothing will be sent to Kafka by 2 workers" in words
    assert "1,234 events are in flight" in words
    assert "34 events wait there already" in words
    assert "The fullest is 50% full" in words


def test_one_event_is_spoken_of_as_one() -> None:
    calm = Platform(heard=[worker(1, in_flight_events=1, journal_pending_events=1)])

    words = " ".join(effects(Override(kind="FORCED_OPEN", topic="", tenant=""), calm.look()))

    assert "1 event is in flight" in words
    assert "1 event waits there already" in words


def test_forcing_a_topic_open_leaves_the_others() -> None:
    words = told("FORCED_OPEN", "audit")

    assert "Nothing will be sent to topic audit by 2 workers" in words
    assert "All other topics go on." in words
    assert "34 events of 2 tenants wait for it already" in words


def test_disabling_says_that_it_is_load_for_kafka() -> None:
    words = told("DISABLED")

    assert words.startswith("2 workers will send everything, whatever fails")
    assert "load for Kafka" in words


def test_a_reset_lets_out_what_waits_and_changes_nothing_where_it_is_closed() -> None:
    assert "34 events wait: they go out in their order" in told("RESET")
    assert told("RESET", "audit") == "It is closed: nothing will change."


def test_parking_says_how_it_ends() -> None:
    words = told("PARKED", "audit", "bolt")

    assert "New events of bolt for topic audit are accepted as before" in words
    assert "4 events wait, the oldest 1 min old" in words
    assert "What waits for 3 d becomes a dead letter" in words


def test_resuming_says_what_goes_out_and_why_it_was_parked() -> None:
    words = told("RESUMED", "audit", "acme")

    assert "30 events wait, the oldest 3 min old: they go out in their order" in words
    assert "They are parked, TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed." in words
    assert told("RESUMED", "audit", "bolt") == "Its events are not parked: nothing will change."


def test_without_redis_what_is_in_hand_is_not_known() -> None:
    word = Override(kind="FORCED_OPEN")

    assert "Redis does not answer" in effects(word, None)[0]
    assert state_of(word, None) == "unknown: Redis does not answer"


def test_a_title_names_what_is_done_to_what() -> None:
    titles = [
        title_of(Override(kind="FORCED_OPEN")),
        title_of(Override(kind="RESET", topic="audit")),
        title_of(Override(kind="RESUMED", topic="audit", tenant="acme")),
    ]

    assert titles == [
        "Force the breaker of the cluster open",
        "Reset the breaker of topic audit",
        "Resume acme's events for topic audit",
    ]


@pytest.mark.django_db
def test_a_worker_obeys_once_it_knows_the_newest_version() -> None:
    ControlPlaneVersion.bump()
    version = ControlPlaneVersion.current()
    platform = Platform(heard=[worker(1, snapshot_version=version), worker(2, snapshot_version=version - 1), worker(3)])

    found = taken(platform.look(), Override(kind="FORCED_OPEN"))

    assert found is not None
    assert found.workers == [("node-1/1", True), ("node-1/2", False), ("node-1/3", False)]
    assert found.by == 1
    assert taken(platform.look(), None) is None
