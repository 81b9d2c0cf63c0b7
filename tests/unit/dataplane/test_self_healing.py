"""A fatal or silent instance of librdkafka is replaced without a restart, and what it held is sent again."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.flow import LOOK_AT_CALLS
from ingest.dataplane.suspects import WAITS_S
from tests.unit.dataplane.drain_world import TIMED_OUT, World
from tests.unit.dataplane.engine_world import STALLED_S
from tests.unit.dataplane.journal_world import totals

FATAL = KafkaError._FATAL
TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_fatal_producer_is_replaced_and_what_it_held_is_sent_again(world: World) -> None:
    world.send("logs")
    world.send("logs")
    world.kafka.fail(FATAL)
    world.settle()

    world.settlements.watch()
    world.kafka.queue.clear()  # the old instance went with what it had
    world.deliver_everything()

    assert world.kafka.renewals == 1
    assert world.stored() == [0, 1]


def test_a_producer_that_reports_nothing_for_too_long_is_replaced(world: World) -> None:
    world.send("logs")

    world.pass_time(STALLED_S - 1)
    world.settlements.watch()
    before = world.kafka.renewals
    world.pass_time(2)
    world.settlements.watch()

    assert (before, world.kafka.renewals) == (0, 1)
    assert world.journal.pending == 1


def test_a_late_success_of_the_old_producer_settles_and_the_second_one_is_only_late(world: World) -> None:
    world.send("logs")
    world.kafka.distrust("fatal")
    world.settlements.watch()
    world.drain.visit_all()
    sent_twice = world.queued()

    world.kafka.acknowledge_all()
    world.settle()

    assert sent_twice == [0, 0]
    assert world.journal.unsettled == 0
    assert totals(world.journal).delivered == 1


def test_a_late_failure_of_the_old_producer_changes_nothing(world: World) -> None:
    world.send("logs")
    world.kafka.distrust("fatal")
    world.settlements.watch()
    world.drain.visit_all()

    world.kafka.fail(TIMED_OUT)
    world.kafka.acknowledge_all()
    world.settle()

    assert world.journal.unsettled == 0
    assert totals(world.journal).delivered == 1


def test_behind_a_call_without_a_report_those_that_have_ended_are_let_go(tmp_path: Path) -> None:
    world = World(tmp_path, segments=16)
    outstanding, longest, silent = world.flows.of("acme", "logs").line.outstanding, 0, []
    for number in range(5 * LOOK_AT_CALLS):
        world.send("logs")
        if number % 2_000 == 0:
            silent.append(world.kafka.queue.pop())
        world.kafka.acknowledge_all()
        if number % 50 == 0:
            world.settle()
            world.settlements.watch()
            longest = max(longest, len(outstanding))

    world.settle()
    left = [in_flight.sequence for in_flight in outstanding if not in_flight.has_ended]
    for message, _, report in silent:
        report(None, message)
    world.settle()
    world.settlements.watch()

    assert longest <= LOOK_AT_CALLS + 50 + len(silent)
    assert left == [0, 2_000, 4_000]
    assert len(outstanding) == 0


# --- the producer of single records ----------------------------------------------------------------------------------
def try_alone(world: World) -> None:
    """A record that was refused is in the hands of the producer of single records."""
    world.send("logs")
    world.kafka.fail(TOO_LARGE, at=len(world.kafka.queue) - 1)
    world.settle()
    world.pass_time(WAITS_S[0])
    world.drain.visit_all()
    assert len(world.alone.queue) == 1


def test_a_fatal_producer_of_single_records_is_replaced_and_the_other_is_left_alone(world: World) -> None:
    try_alone(world)
    world.send("audit")
    world.alone.fail(FATAL)
    world.settle()

    world.settlements.watch()
    world.deliver_everything()

    assert (world.kafka.renewals, world.alone.renewals) == (0, 1)
    assert (world.stored("logs"), world.stored("audit")) == ([0], [1])


def test_a_producer_of_single_records_that_reports_nothing_is_replaced_and_its_record_waits_again(world: World) -> None:
    try_alone(world)
    world.pass_time(STALLED_S - 1)
    world.send("audit")

    world.pass_time(2)
    world.settlements.watch()
    late = world.alone.queue.copy()
    world.alone.queue.clear()
    pending = world.journal.pending
    world.deliver_everything()
    for message, _, report in late:
        report(None, message)
    world.settle()

    assert (world.kafka.renewals, world.alone.renewals, pending) == (0, 1, 1)
    assert (world.stored("logs"), world.stored("audit")) == ([0], [1])
    assert totals(world.journal).delivered == 2


def test_behind_a_silent_single_record_a_silent_producer_is_found(world: World) -> None:
    try_alone(world)
    world.send("logs")

    world.pass_time(STALLED_S + 1)
    world.settlements.watch()

    assert (world.kafka.renewals, world.alone.renewals) == (1, 1)
    assert world.journal.pending == 2


def test_single_records_are_called_back_with_the_others(world: World) -> None:
    try_alone(world)

    world.settlements.call_back()
    world.settle()
    world.settle()

    assert len(world.alone.queue) == 0
    assert world.journal.pending == 1
