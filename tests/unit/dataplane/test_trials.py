"""What is sent while a breaker is half open, and what the end of such a trial says of the cluster and of its topic."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.breaker import Breaker, State
from ingest.dataplane.calls import OVERDUE_S
from tests.unit.dataplane.drain_world import TIMED_OUT, World

DENIED = KafkaError.TOPIC_AUTHORIZATION_FAILED
NO_REPLICAS = KafkaError.NOT_ENOUGH_REPLICAS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def half_open(world: World, *breakers: Breaker, permits: int = 1) -> None:
    """They open, their time is over, and Redis has given them permits."""
    for breaker in breakers:
        breaker.record(0, 10, breaker.epoch)
    world.pass_time(world.limits.open_s)
    for breaker in breakers:
        breaker.tick()
        grant(world, breaker, permits)


def grant(world: World, breaker: Breaker, permits: int = 1) -> None:
    breaker.reported(breaker.trial_report(), [f"permit-{at}" for at in range(permits)], world.clock())


def told(breaker: Breaker) -> tuple[int, int, int]:
    """What Redis would hear: successes, failures, trials given back."""
    report = breaker.trial_report()
    return report.successes, report.failures, report.given_back


# --- what leaves -----------------------------------------------------------------------------------------------------
def test_behind_an_open_breaker_nothing_leaves_and_then_only_trials(world: World) -> None:
    world.cluster.record(0, 10, 0)
    for _ in range(6):
        world.send("logs")
    world.drain.visit_all()
    while_open = len(world.kafka.queue)

    half_open(world, world.cluster, permits=3)
    for _ in range(6):
        world.drain.visit_all()
        world.kafka.acknowledge_all()
        world.settle()

    assert (while_open, world.cluster.state, world.stored()) == (0, State.HALF_OPEN, [0, 1, 2])
    assert world.journal.pending == 3


def test_trials_that_succeed_close_the_breaker_and_the_backlog_leaves(world: World) -> None:
    world.cluster.record(0, 10, 0)
    for _ in range(3):
        world.send("logs")
    world.pass_time(world.limits.open_s)
    world.cluster.tick(alone=True)  # the time is over
    world.cluster.tick(alone=True)  # a permit

    world.drain.visit_all()
    trial = world.queued()
    world.kafka.acknowledge_all()
    world.settle()
    world.cluster.tick(alone=True)
    world.drain.visit_all()

    assert (trial, world.queued(), world.cluster.state) == ([0], [1, 2], State.CLOSED)


def test_reports_of_calls_from_before_the_breaker_moved_say_nothing(world: World) -> None:
    for _ in range(6):
        world.send("logs")
    world.cluster.record(0, 10, 0)
    world.pass_time(world.limits.open_s)
    world.cluster.tick()

    world.kafka.acknowledge()
    world.kafka.fail(TIMED_OUT)
    world.settle()

    report = world.cluster.trial_report()
    assert (world.cluster.state, report.successes, report.failures) == (State.HALF_OPEN, 0, 0)


def test_a_topic_has_one_trial_of_the_clusters_out_at_a_time(world: World) -> None:
    half_open(world, world.cluster, permits=3)

    for tenant in ("acme", "bolt", "crux"):
        world.send("logs", tenant=tenant)
        world.send("audit", tenant=tenant)

    assert world.queued() == [0, 1]


def test_topics_that_never_answer_do_not_have_all_trials_time_and_again(world: World) -> None:
    world.cluster.record(0, 10, 0)
    for topic in ("silent-1", "silent-2", "silent-3", "logs"):
        world.verify(topic)
        world.send(topic)
    half_open(world, world.cluster, permits=3)
    world.drain.visit_all()
    first_round = [message.topic() for message, _, _ in world.kafka.queue]
    world.pass_time(OVERDUE_S + 0.1)
    world.settlements.watch()
    failed = told(world.cluster)

    half_open(world, world.cluster, permits=3)
    world.drain.visit_all()

    assert (first_round, failed) == (["silent-1", "silent-2", "silent-3"], (0, 3, 0))
    assert "logs" in [message.topic() for message, _, _ in world.kafka.queue]


# --- what it says ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "of_cluster", "of_topic"),
    [
        (None, (1, 0, 0), (1, 0, 0)),
        (TIMED_OUT, (0, 1, 0), (0, 1, 0)),
        (KafkaError.MSG_SIZE_TOO_LARGE, (1, 0, 0), (1, 0, 0)),
        (DENIED, (1, 0, 0), (0, 0, 1)),
        (NO_REPLICAS, (1, 0, 0), (0, 1, 0)),
        (KafkaError._UNKNOWN_TOPIC, (0, 0, 1), (0, 0, 1)),
        (KafkaError._BAD_MSG, (0, 0, 1), (0, 1, 0)),
        (KafkaError._PURGE_QUEUE, (0, 0, 1), (0, 0, 1)),
        (KafkaError._FATAL, (0, 0, 1), (0, 0, 1)),
    ],
)
def test_the_end_of_a_trial_says_something_of_the_cluster_and_of_the_topic_or_it_is_given_back(
    world: World, code: int | None, of_cluster: tuple[int, int, int], of_topic: tuple[int, int, int]
) -> None:
    half_open(world, world.cluster, world.breaker("logs"))
    world.send("logs")

    world.kafka.acknowledge() if code is None else world.kafka.fail(code)
    world.settle()

    assert (told(world.cluster), told(world.breaker("logs"))) == (of_cluster, of_topic)


def test_denied_topics_do_not_keep_the_breaker_of_the_cluster_open(world: World) -> None:
    half_open(world, world.cluster, permits=3)

    for tenant in ("acme", "bolt", "crux"):
        world.send("logs", tenant=tenant)
        world.kafka.fail(DENIED)
        world.settle()

    assert told(world.cluster) == (3, 0, 0)
    assert len(world.flows.parked()) == 3


def test_while_another_topic_succeeds_a_silent_trial_is_given_back_to_the_cluster(world: World) -> None:
    half_open(world, world.cluster, permits=3)
    world.send("logs")
    world.pass_time(OVERDUE_S)
    world.send("audit")
    world.kafka.acknowledge(1)
    world.settle()

    world.pass_time(0.1)
    world.settlements.watch()

    assert told(world.cluster) == (1, 0, 1)


def test_a_silent_trial_has_failed_once_however_long_it_is_silent(world: World) -> None:
    half_open(world, world.cluster, permits=3)
    world.send("logs")

    for _ in range(200):
        world.pass_time(0.1)
        world.settlements.watch()

    assert told(world.cluster) == (0, 1, 0)


def test_after_a_trial_that_was_given_back_its_topic_may_try_again(world: World) -> None:
    half_open(world, world.cluster, permits=2)
    world.send("logs")

    world.kafka.purge_queue()
    world.settle()
    world.drain.visit_all()

    assert world.queued() == [0]


def test_a_trial_that_went_with_its_producer_is_given_back(world: World) -> None:
    half_open(world, world.cluster)
    world.send("logs")

    world.kafka.distrust("fatal")
    world.settlements.watch()
    world.settle()

    assert told(world.cluster) == (0, 0, 1)


def test_a_trial_that_finds_no_room_in_the_queue_is_given_back(tmp_path: Path) -> None:
    world = World(tmp_path, room=0)
    half_open(world, world.cluster)

    world.send("logs")
    world.settle()

    assert told(world.cluster) == (0, 0, 1)
