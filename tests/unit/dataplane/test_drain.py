"""A backlog leaves in its order: nothing overtakes within one (tenant, topic), and nothing leaves before it may."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.dataplane.flows import BACK_OFF_S
from ingest.dataplane.partitioning import UNASSIGNED
from ingest.dataplane.policy import TopicPolicy
from tests.programs import poll_until
from tests.unit.dataplane.drain_world import SIZES, TIMED_OUT, World
from tests.unit.dataplane.world import NOW_WALL_MS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_without_a_backlog_there_is_nothing_to_drain(world: World) -> None:
    world.send("logs", "logs")

    world.drain.visit_all()

    assert len(world.kafka.queue) == 2
    assert world.drain.pending == 0
    assert not world.behind()


def test_what_finds_the_queue_full_leaves_later_in_its_order(tmp_path: Path) -> None:
    world = World(tmp_path, room=3)
    world.send(*["logs"] * 5)
    world.send(*["logs"] * 2)

    assert world.behind() == {("acme", "logs"): 4}
    world.deliver_everything()

    assert world.stored() == list(range(7))
    assert not world.behind()


def test_new_events_of_a_topic_that_is_behind_do_not_overtake(tmp_path: Path) -> None:
    world = World(tmp_path, room=1)
    world.send("logs", "logs")
    world.kafka.room = 100

    world.send("logs")

    assert [message.value() for message, _, _ in world.kafka.queue] == [b"0"]
    world.deliver_everything()
    assert world.stored() == [0, 1, 2]


def test_a_backlog_of_one_topic_or_tenant_holds_up_no_other(tmp_path: Path) -> None:
    world = World(tmp_path, topics=("logs",))
    world.send("not-yet")

    world.send("logs")
    world.send("not-yet", tenant="bolt")
    world.send("logs", tenant="bolt")

    assert [message.value() for message, _, _ in world.kafka.queue] == [b"1", b"3"]


def test_an_unknown_topic_waits_until_it_is_verified(tmp_path: Path) -> None:
    world = World(tmp_path, topics=())
    world.send("logs")
    world.drain.visit_all()
    waiting = len(world.kafka.queue)

    world.verify("logs")
    world.drain.visit_all()

    assert waiting == 0
    assert len(world.kafka.queue) == 1


def test_records_that_come_back_are_left_alone_for_a_while(world: World) -> None:
    world.send("logs")
    world.kafka.fail(TIMED_OUT)
    world.settle()

    world.drain.visit_all()
    at_once = len(world.kafka.queue)
    world.pass_time(BACK_OFF_S)
    world.drain.visit_all()

    assert at_once == 0
    assert len(world.kafka.queue) == 1


def test_a_topic_that_is_left_alone_holds_up_no_other(tmp_path: Path) -> None:
    world = World(tmp_path, room=1)
    world.send("logs")
    world.kafka.fail(TIMED_OUT)
    world.settle()
    world.send("logs", "audit", "audit")
    world.kafka.room = 100

    world.drain.visit_all()

    assert {message.topic() for message, _, _ in world.kafka.queue} == {"audit"}
    world.deliver_everything()
    assert (world.stored("logs"), world.stored("audit")) == ([0, 1], [2, 3])


def test_what_comes_back_goes_before_what_came_after_it(world: World) -> None:
    world.send("logs")
    world.kafka.fail(TIMED_OUT)
    world.settle()

    world.send("logs")
    world.send("logs")
    world.deliver_everything()

    assert world.stored() == [0, 1, 2]


def test_a_topic_verified_in_the_middle_of_a_pass_waits_for_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, topics=("logs",), room=0)
    world.send("audit")
    world.send("logs")
    world.send("audit")
    world.kafka.room = 100
    world.kafka.before_produce = lambda: world.verify("audit")

    world.drain.visit_all()
    in_the_pass = [message.value() for message, _, _ in world.kafka.queue]
    world.deliver_everything()

    assert in_the_pass == [b"1"]
    assert world.stored("audit") == [0, 2]


def test_a_record_whose_partition_is_not_there_gets_another(tmp_path: Path) -> None:
    world = World(tmp_path, room=0)
    world.topics["logs"] = TopicPolicy("logs", 12, 1 << 20)
    records = [("logs", 11, b"k", b"0", 0), ("logs", 2, b"k", b"1", 0)]
    origin = world.journal.append("acme", NOW_WALL_MS, records)
    world.flows.wait(world.flows.of("acme", "logs"), origin, [0, 1])
    world.topics["logs"] = TopicPolicy("logs", 3, 1 << 20)
    world.kafka.room = 100

    world.drain.visit_all()

    assert world.kafka.partitions == [UNASSIGNED, 2]


def test_the_backlog_is_not_read_while_all_of_its_topics_wait(tmp_path: Path) -> None:
    world = World(tmp_path, topics=())
    world.send("logs")
    world.drain.visit_all()  # the first visit looks at ages as well
    segment = world.journal.segment_of(0)
    assert segment is not None
    os.dup2(os.open(os.devnull, os.O_RDONLY), segment.fd)  # reading it now would find nothing and give it up

    world.drain.visit_all()

    assert world.drain.pending == 1
    assert not segment.is_damaged


# --- journals of dead workers ----------------------------------------------------------------------------------------
def test_the_drain_thread_empties_a_backlog_by_itself(tmp_path: Path) -> None:
    world = World(tmp_path, room=1)
    world.send(*["logs"] * 20)
    world.kafka.room = 100
    world.drain.start()

    drained = poll_until(lambda: not world.drain.pending, 20)
    world.drain.close()
    world.kafka.acknowledge_all()
    world.settle()

    assert drained
    assert world.stored() == list(range(20))


topics = st.sampled_from(["logs", "audit"])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(["acme", "bolt"]), st.lists(topics, min_size=1, max_size=4)),
        st.tuples(st.just("room"), st.integers(0, 6)),
        st.tuples(st.just("acknowledge"), st.integers(1, 4)),
        st.tuples(st.just("fail"), topics),
        st.tuples(st.just("settle")),
        st.tuples(st.just("visit")),
        st.tuples(st.just("advance")),
        st.tuples(st.just("verify")),
        st.tuples(st.just("adopt")),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(operations)
def test_everything_arrives_once_and_in_order_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    world = World(tmp_path_factory.mktemp("drain"), topics=("logs",))
    tenant_of: dict[int, str] = {}

    for name, *arguments in steps:
        match name, arguments:
            case "send", [str(tenant), list(names)]:
                tenant_of |= dict.fromkeys(range(world.sent, world.sent + len(names)), tenant)
                world.send(*names, tenant=tenant)
            case "room", [int(room)]:
                world.kafka.room = room
            case "acknowledge", [int(count)]:
                for _ in range(min(count, len(world.kafka.queue))):
                    world.kafka.acknowledge()
            case "fail", [str(topic)]:
                # As librdkafka gives up on a partition: all that is queued for it, in order.
                while (at := world.first_of(topic)) is not None:
                    world.kafka.fail(TIMED_OUT, at)
                world.settle()
            case "settle", []:
                world.settle()
            case "visit", []:
                world.drain.visit_all()
            case "advance", []:
                world.pass_time(BACK_OFF_S / 2)
            case "verify", []:
                world.verify("audit")
            case "adopt", []:
                world.drain.adopt(world.root, **SIZES)
        assert sum(world.behind().values()) == world.drain.pending
    world.verify("audit")
    world.kafka.room = 1_000
    world.deliver_everything()

    assert sorted([*world.stored("logs"), *world.stored("audit")]) == list(range(world.sent))
    for topic in ("logs", "audit"):
        for tenant in ("acme", "bolt"):
            order = [number for number in world.stored(topic) if tenant_of[number] == tenant]
            assert order == sorted(order)
    assert not world.behind()
    world.close()
