"""The path of a request: what it charges, journals and produces, and what it refuses without leaving a trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.acks import Place
from ingest.dataplane.errors import TooLarge
from ingest.dataplane.suspects import WAITS_S
from tests.unit.dataplane.pipeline_world import GOOD, PARTITION, World, rejected_total
from tests.unit.dataplane.world import (
    rule,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.journal.close()


def test_an_event_is_in_the_journal_and_on_its_way_as_the_same_bytes(world: World) -> None:
    outcome = world.accept(GOOD | {"tenant": "bolt", "eventId": "order-17", "timestamp": None})

    ((topic, partition, record_key, value),) = world.journaled()
    assert (topic, record_key) == ("logs", b"checkout")
    assert 1 <= partition < 12
    assert value == {
        "source": "checkout",
        "level": "INFO",
        "message": "paid",
        "eventId": "order-17",
        "timestamp": outcome.received_at,
        "hostname": "192.0.2.7",
        "correlationId": "c-1",
        "tenant": "acme",
        "receivedAt": outcome.received_at,
        "receivedBy": "node-1",
    }
    ((message, produced_key, _),) = world.kafka.queue
    assert (json.loads(message.value()), produced_key) == (value, record_key)


def test_the_events_of_a_request_get_ids_that_sort_as_sent(world: World) -> None:
    world.accept([GOOD] * 5)

    ids = [value["eventId"] for _, _, _, value in world.journaled()]
    assert ids == sorted(set(ids))
    assert {UUID(one).version for one in ids} == {7}


def test_bad_events_of_a_batch_are_told_and_the_good_ones_go_on(world: World) -> None:
    before = rejected_total("unknown_level")

    outcome = world.accept([GOOD, {"source": ""}, GOOD | {"level": "LOUD"}, GOOD | {"timestamp": 0}, GOOD])

    assert outcome.accepted == 2
    assert {at: error.code for at, error in outcome.rejected.items()} == {
        1: "invalid_field",
        2: "unknown_level",
        3: "timestamp_out_of_range",
    }
    assert len(world.kafka.queue) == 2
    assert rejected_total("unknown_level") == before  # counted when the answer is known


def test_an_event_is_measured_with_all_that_is_added_to_it(world: World) -> None:
    outcome = world.accept([GOOD | {"message": "x" * 3_900}, GOOD])

    assert {at: error.code for at, error in outcome.rejected.items()} == {0: "event_too_large"}
    assert outcome.accepted == 1


def test_a_topic_that_takes_less_refuses_what_kafka_would(tmp_path: Path) -> None:
    world = World(tmp_path, rule("small"))

    outcome = world.accept([GOOD | {"message": "x" * 2_500}, GOOD])

    assert {at: error.code for at, error in outcome.rejected.items()} == {0: "event_too_large"}


def test_ten_events_are_a_request_and_eleven_are_not(world: World) -> None:
    before = rejected_total("too_many_events")

    outcome = world.accept([GOOD] * 10)
    refused = world.refusal([GOOD] * 11)

    assert outcome.accepted == 10
    assert isinstance(refused, TooLarge)
    assert refused.code == "too_many_events"
    assert len(world.journaled()) == 10
    assert rejected_total("too_many_events") == before + 11


def test_what_a_rule_drops_is_accepted_and_leaves_no_record(tmp_path: Path) -> None:
    world = World(tmp_path, rule("", levels=("DEBUG",), drop_reason="noise"))

    outcome = world.accept([GOOD | {"level": "DEBUG"}, GOOD])

    assert outcome.accepted == 2
    assert outcome.dropped == {0: "noise"}
    assert len(world.journaled()) == 1


def test_of_a_request_of_which_nothing_is_left_the_journal_keeps_what_was_dropped(tmp_path: Path) -> None:
    world = World(tmp_path, rule("", drop_reason="noise"))

    world.accept(GOOD)

    (accept,) = world.accepts()
    assert (accept.records, accept.dropped) == ([], {"noise": 1})
    assert world.recent.take() == {}


def test_one_request_over_two_topics_is_one_append(tmp_path: Path) -> None:
    world = World(tmp_path, rule("small", source_glob="pay*"))

    world.accept([GOOD, GOOD | {"source": "payment"}, GOOD])

    (accept,) = world.accepts()
    assert [record[0] for record in accept.records if record] == ["logs", "small", "logs"]
    world.kafka.acknowledge_all()
    world.settlements.settle_all()
    assert world.journal.unsettled == 0


def test_the_last_event_of_a_request_is_in_the_sample(world: World) -> None:
    world.accept([GOOD | {"message": "first"}, GOOD | {"message": "last"}])

    (recent,) = world.recent.take().values()
    assert [json.loads(value)["message"] for value in recent.sample] == ["last"]
    assert recent.count == 2


# --- quotas ----------------------------------------------------------------------------------------------------------
def test_an_unverified_topic_is_accepted_and_waits(world: World) -> None:
    outcome = world.accept(GOOD, topics={})

    assert outcome.accepted == 1
    assert world.kafka.queue == []
    assert world.flows.of("acme", "logs").pending == 1
    assert world.drain.pending == 1


def test_a_full_queue_leaves_the_rest_to_the_drain(tmp_path: Path) -> None:
    world = World(tmp_path, room=2)

    outcome = world.accept([GOOD] * 5)

    assert outcome.accepted == 5
    assert world.drain.pending == world.flows.of("acme", "logs").pending == 3


def test_while_a_topic_is_behind_its_events_are_only_appended(tmp_path: Path) -> None:
    world = World(tmp_path, room=1)
    world.accept([GOOD] * 2)
    world.kafka.room = 100

    world.accept(GOOD)

    assert len(world.kafka.queue) == 1
    assert world.flows.of("acme", "logs").pending == 2


# --- waiting for Kafka -----------------------------------------------------------------------------------------------
def test_a_request_that_asks_waits_for_all_of_its_records(world: World) -> None:
    outcome = world.accept([GOOD, {"bad": 1}, GOOD], delivery="ack")
    world.kafka.acknowledge_all()

    assert outcome.waits_for is not None
    assert outcome.waits_for.wait(60) == {0: Place("logs", PARTITION, 0), 1: Place("logs", PARTITION, 1)}
    assert list(outcome.record_indexes) == [0, 2]


@pytest.mark.parametrize(("requested", "waits"), [("", True), ("async", False), ("ack", True)])
def test_the_requests_own_choice_goes_before_the_rules(tmp_path: Path, requested: str, waits: bool) -> None:
    world = World(tmp_path, rule("logs", delivery="ack"))

    outcome = world.accept(GOOD, delivery=requested)

    assert (outcome.waits_for is not None) is waits


def test_one_event_that_asks_makes_its_request_wait(tmp_path: Path) -> None:
    world = World(tmp_path, rule("logs", levels=("FATAL",), delivery="ack"))

    calm, urgent = world.accept([GOOD, GOOD]), world.accept([GOOD, GOOD | {"level": "FATAL"}])

    assert calm.waits_for is None
    assert urgent.waits_for is not None


def test_beyond_the_budget_nobody_waits(world: World) -> None:
    waiting = [world.accept(GOOD, delivery="ack") for _ in range(3)]

    assert [outcome.waits_for is not None for outcome in waiting] == [True, False, False]
    assert all(outcome.wanted_ack for outcome in waiting)


def test_a_topic_that_is_behind_is_not_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, room=0)
    world.accept(GOOD)

    outcome = world.accept(GOOD, delivery="ack")

    assert outcome.wanted_ack
    assert outcome.waits_for is None
    assert world.ack_budget.take("acme")


def test_a_request_that_breaks_on_its_way_out_keeps_no_place_among_those_that_wait(world: World) -> None:
    def break_down() -> None:
        raise RuntimeError("a defect")

    world.kafka.before_produce = break_down
    with pytest.raises(RuntimeError, match="a defect"):
        world.accept(GOOD, delivery="ack")

    assert world.ack_budget.take("acme")


def test_a_refusal_in_time_is_a_rejection_and_is_settled(world: World) -> None:
    outcome = world.accept([GOOD, GOOD], delivery="ack")
    world.kafka.fail(KafkaError.MSG_SIZE_TOO_LARGE)
    world.kafka.acknowledge_all()
    world.settlements.settle_all()
    world.pass_time(WAITS_S[0])
    world.suspects.visit()
    world.alone.fail(KafkaError.MSG_SIZE_TOO_LARGE)
    world.settlements.settle_all()

    assert outcome.waits_for is not None
    outcome.take(outcome.waits_for.wait(60))

    assert {at: error.code for at, error in outcome.rejected.items()} == {0: "undeliverable"}
    assert outcome.accepted == 1
    assert world.journal.unsettled == 0
