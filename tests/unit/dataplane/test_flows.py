"""Who may send now: breakers, parked topics, room in the queue, the send-rate cap."""

import itertools
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.breaker import Standing, State
from ingest.dataplane.calls import OVERDUE_S
from ingest.dataplane.flows import BACK_OFF_S
from ingest.dataplane.policy import OverridePolicy
from ingest.dataplane.settlements import INTERVAL_S
from tenants.quotas import TokenBucket
from tests.unit.dataplane.drain_world import TIMED_OUT, World

DENIED = KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def word(number: int, kind: str, tenant: str = "acme") -> OverridePolicy:
    return OverridePolicy(number, kind, "logs", tenant, "ann", "because", 0)


# --- breakers --------------------------------------------------------------------------------------------------------
def test_calls_that_are_overdue_open_the_breaker_of_the_cluster(world: World) -> None:
    for _ in range(5):
        world.send("logs")

    world.pass_time(OVERDUE_S + 0.1)
    world.settlements.watch()

    assert world.cluster.state is State.OPEN
    assert world.breaker("logs").state is State.CLOSED


def test_while_another_topic_succeeds_an_overdue_topic_is_alone_to_blame(world: World) -> None:
    for _ in range(5):
        world.send("logs")
    world.pass_time(OVERDUE_S + 0.1)
    world.send("audit")
    at = world.first_of("audit")
    assert at is not None
    world.kafka.acknowledge(at)
    world.settle()

    world.settlements.watch()

    assert (world.cluster.state, world.breaker("logs").state) == (State.CLOSED, State.OPEN)


def test_an_overdue_call_counts_once(world: World) -> None:
    for _ in range(4):
        world.send("logs")
    world.pass_time(OVERDUE_S + 0.1)

    for _ in range(10):
        world.settlements.watch()

    assert world.cluster.state is State.CLOSED


def seconds_until_open(world: World, *, every_s: float) -> float:
    """The brokers have just fallen silent; the next call comes after `every_s`, and so on."""
    since_s, next_s = world.clock(), world.clock() + every_s
    while world.cluster.state is State.CLOSED:
        world.pass_time(INTERVAL_S)
        if world.clock() >= next_s:
            world.send("logs")
            next_s += every_s
        world.settlements.watch()
    return world.clock() - since_s


@pytest.mark.parametrize(("every_s", "within_s"), [(INTERVAL_S, 5.4), (1.0, 8.2), (2.0, 9.3)])
def test_silence_opens_the_breaker_within_ten_seconds_where_a_call_begins_every_other_second(
    world: World, every_s: float, within_s: float
) -> None:
    assert OVERDUE_S < seconds_until_open(world, every_s=every_s) < within_s


def test_while_others_succeed_the_silence_of_a_topic_opens_its_own_breaker_alone(world: World) -> None:
    world.send("logs")
    for _ in range(100):
        world.pass_time(0.1)
        world.send("audit")
        world.kafka.acknowledge(len(world.kafka.queue) - 1)
        world.settle()
        world.settlements.watch()

    assert (world.cluster.state, world.breaker("logs").state) == (State.CLOSED, State.OPEN)


def test_a_call_that_was_overdue_and_then_fails_counts_once(world: World) -> None:
    for _ in range(4):
        world.send("logs")
    world.pass_time(OVERDUE_S + 0.1)
    world.settlements.watch()

    for _ in range(4):
        world.kafka.fail(TIMED_OUT)
    world.settle()

    assert (world.cluster.state, world.breaker("logs").state) == (State.CLOSED, State.CLOSED)
    world.cluster.record(0, 1, 0)
    assert world.cluster.state is State.OPEN


def test_what_we_called_back_ourselves_counts_for_no_breaker(world: World) -> None:
    for _ in range(20):
        world.send("logs")

    world.kafka.purge_queue()
    world.settle()

    assert (world.cluster.state, world.breaker("logs").state) == (State.CLOSED, State.CLOSED)
    assert world.journal.pending == 20


def test_failed_calls_call_back_what_is_queued_behind_them(world: World) -> None:
    for _ in range(4):
        world.send("logs")

    world.kafka.fail(TIMED_OUT)
    world.settle()
    world.settle()
    world.pass_time(BACK_OFF_S)
    world.deliver_everything()

    assert world.stored() == [0, 1, 2, 3]


def test_what_was_called_back_from_another_topic_is_not_overtaken(world: World) -> None:
    world.send("audit")
    world.send("logs")
    world.kafka.fail(TIMED_OUT)
    world.settle()

    world.send("logs")
    world.deliver_everything()

    assert world.stored("logs") == [1, 2]


def test_a_flow_that_lost_nothing_when_the_queue_was_called_back_goes_on(world: World) -> None:
    world.send("audit")
    world.send("logs")
    sent = world.kafka.queue.pop()
    world.kafka.fail(TIMED_OUT)
    world.settle()
    world.kafka.queue.append(sent)  # a broker had it already, so it could not be called back
    world.send("logs")
    too_early = world.queued()

    world.kafka.acknowledge()
    world.settle()
    world.drain.visit_all()
    world.drain.visit_all()

    assert (too_early, world.queued()) == ([1], [2])
    assert ("acme", "logs") not in world.behind()


def test_after_records_came_back_nothing_follows_before_all_in_flight_is_reported(world: World) -> None:
    world.send("logs")
    world.send("logs")
    world.kafka.purge_queue = lambda: None  # type: ignore[method-assign]  # what is sent already cannot be called back
    world.kafka.fail(TIMED_OUT)
    world.settle()

    world.pass_time(BACK_OFF_S)
    world.drain.visit_all()
    too_early = world.queued()
    world.kafka.acknowledge()
    world.settle()
    world.drain.visit_all()

    assert (too_early, world.queued()) == ([1], [0])


# --- parked ----------------------------------------------------------------------------------------------------------
def test_a_topic_without_permission_is_parked_for_its_tenant_alone(world: World) -> None:
    world.send("logs")
    world.kafka.fail(DENIED)
    world.settle()

    world.send("logs")
    world.send("logs", tenant="bolt")
    world.pass_time(BACK_OFF_S)
    world.drain.visit_all()

    assert [(flow.tenant, flow.topic) for flow in world.flows.parked()] == [("acme", "logs")]
    assert world.queued() == [2]
    assert (world.cluster.state, world.breaker("logs").state) == (State.CLOSED, State.CLOSED)


def test_what_is_queued_behind_a_record_that_parks_its_topic_does_not_overtake_it(world: World) -> None:
    world.send("logs")
    world.send("logs")
    world.kafka.fail(DENIED)
    world.settle()
    world.kafka.acknowledge_all()  # by now it would be allowed

    world.settle()
    world.flows.obey([word(1, "RESUMED")])
    world.deliver_everything()

    assert world.stored() == [0, 1]


def test_an_operators_word_resumes_what_was_parked_and_each_word_counts_once(world: World) -> None:
    world.send("logs")
    world.kafka.fail(DENIED)
    world.settle()

    world.flows.obey([word(7, "RESUMED")])
    world.drain.visit_all()
    world.kafka.fail(DENIED)
    world.settle()
    world.flows.obey([word(7, "RESUMED")])

    assert len(world.flows.parked()) == 1
    world.flows.obey([word(8, "RESUMED")])
    world.deliver_everything()
    assert world.stored() == [0]


def test_an_operator_may_park(world: World) -> None:
    world.flows.obey([word(1, "PARKED"), word(2, "FORCED_OPEN", tenant="")])

    world.send("logs")
    world.send("logs", tenant="bolt")

    assert world.queued() == [1]


# --- room and rate ---------------------------------------------------------------------------------------------------
def test_a_topic_has_a_quarter_of_the_queue_and_no_more(tmp_path: Path) -> None:
    world = World(tmp_path, in_flight_bytes=3)

    for _ in range(5):
        world.send("logs")
    world.send("audit")

    assert world.queued() == [0, 1, 2, 5]
    assert world.behind() == {("acme", "logs"): 2}


def test_the_send_rate_holds_back_what_is_over_it(tmp_path: Path) -> None:
    world = World(tmp_path, send_rate=TokenBucket(2, 2, 0.0))
    for _ in range(3):
        world.send("logs")
    at_once = world.queued()

    world.kafka.acknowledge_all()
    world.settle()
    world.pass_time(60)
    world.drain.visit_all()

    assert at_once == [0, 1]
    assert world.queued() == [2]


def test_the_send_rate_holds_for_what_waits_too(tmp_path: Path) -> None:
    world = World(tmp_path, room=0, send_rate=TokenBucket(1_000, 1_000, 0.0))
    for _ in range(200):
        world.send("logs")
    world.kafka.room = 1_000

    counts = []
    for _ in range(4):
        world.pass_time(1)
        world.drain.visit_all()
        counts.append(len(world.queued()))

    steps = [later - earlier for earlier, later in itertools.pairwise(counts)]
    assert 0 < min(steps) <= max(steps) <= min(steps) + 1
    assert counts[-1] < 200


def test_asking_too_often_uses_up_no_send_rate(tmp_path: Path) -> None:
    world = World(tmp_path, room=0, send_rate=TokenBucket(100, 100, 0.0))
    for _ in range(20):
        world.send("logs")
    world.kafka.room = 1_000
    world.drain.visit_all()
    at_once = len(world.queued())

    for _ in range(100):
        world.pass_time(0.02)
        world.drain.visit_all()

    assert 0 < at_once < len(world.queued()) < 20


def test_a_huge_backlog_of_one_flow_does_not_keep_anothers_first_record(tmp_path: Path) -> None:
    world = World(tmp_path, topics=("logs",), room=0)
    for _ in range(300):
        world.send("logs")
    world.send("logs", tenant="bolt")
    world.kafka.room = 1_000

    world.drain.visit_all()

    assert 300 in world.queued()
    assert len(world.queued()) < 300


def test_what_a_breaker_keeps_back_uses_up_no_send_rate(tmp_path: Path) -> None:
    world = World(tmp_path, send_rate=TokenBucket(2, 2, 0.0))
    world.cluster.record(0, 10, 0)
    for tenant in ("acme", "bolt", "crux"):
        world.send("logs", tenant=tenant)
    world.cluster.obey(1, "RESET", "ann", "it is well")

    world.send("audit")
    world.send("audit")

    assert world.queued() == [3, 4]


def test_a_trial_is_not_taken_where_the_send_rate_is_used_up(tmp_path: Path) -> None:
    world = World(tmp_path, send_rate=TokenBucket(1, 1, 0.0))
    world.send("audit")
    world.cluster.obey(1, "FORCED_OPEN", "ann", "for a while")
    world.cluster.adopt(Standing(State.HALF_OPEN, 7, 0.0, "", "", 1))
    world.cluster.reported(world.cluster.trial_report(), ["a"], world.clock())

    world.send("logs")

    assert world.queued() == [0]
    assert world.cluster.trial_report().used == ()
