"""A backlog leaves in its order: nothing overtakes within one (tenant, topic), and nothing leaves before it may."""

import os
import threading
from collections import Counter, deque
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.dataplane.delivery import InFlight, Settlements
from ingest.dataplane.drain import BACK_OFF_S, Drain
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.partitioning import UNASSIGNED
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import PENDING, Record
from tests.programs import poll_until
from tests.unit.dataplane.world import NOW_WALL_MS, MemoryKafka
from tests.unit.tenants.quota_world import FakeClock

SIZE = SETTLE_RESERVE_BYTES + 65_536
SIZES = {"segment_bytes": SIZE, "max_bytes": 4 * SIZE}
TIMED_OUT = KafkaError._MSG_TIMED_OUT


class World:
    """A worker's journal, drain and settlements around a Kafka in memory; `send` does what the pipeline does."""

    def __init__(self, root: Path, *, topics: tuple[str, ...] = ("logs", "audit"), room: int = 1_000_000) -> None:
        self.root = root
        self.journal = Journal.create(root, **SIZES)
        self.kafka = MemoryKafka(room)
        self.clock = FakeClock()
        self.lane_lock = threading.Lock()
        self.topics = {name: TopicPolicy(name, 3, 1 << 20) for name in topics}
        self.settlements = Settlements(lambda in_flight, indexes: self.drain.release(in_flight, indexes))
        producer = cast(EventProducer, self.kafka)
        completed: deque[InFlight] = self.settlements.completed
        self.drain = Drain(self.lane_lock, producer, completed, lambda: self.topics, self.journal, self.clock)
        self.sent = 0

    def send(self, *topics: str, tenant: str = "acme") -> None:
        """One request: a record for each topic, with a number that goes up in the order of acceptance."""
        records: list[Record] = []
        for topic in topics:
            records.append((topic, 0, b"k", str(self.sent).encode()))
            self.sent += 1
        with self.lane_lock:
            segment, at, sequence = self.journal.append(tenant, NOW_WALL_MS + self.sent, records)
            for topic in sorted(set(topics)):
                indexes = [index for index, record in enumerate(records) if record[0] == topic]
                left = indexes
                if topic in self.topics and (tenant, topic) not in self.drain.behind:
                    place = (self.journal, segment, at, sequence)
                    in_flight = InFlight(self.settlements.completed, place, tenant, topic, indexes)
                    left = list(in_flight.produce(self.kafka.produce, records, NOW_WALL_MS + self.sent))
                if left:
                    self.journal.mark(segment, at, sequence, left, PENDING)
                    self.drain.behind[tenant, topic] += len(left)

    def verify(self, *names: str) -> None:
        self.topics = self.topics | {name: TopicPolicy(name, 3, 1 << 20) for name in names}

    def settle(self) -> None:
        self.settlements.settle_all()

    def deliver_everything(self) -> None:
        """Until nothing is left: as the threads would, with all the time they need."""
        for _ in range(1_000):
            self.kafka.acknowledge_all()
            self.settle()
            if not self.journal.unsettled and not any(journal.unsettled for journal in self.drain.adopted):
                return
            self.clock.advance(BACK_OFF_S)
            self.drain.visit_all()
        raise AssertionError(f"still unsettled: {self.journal.unsettled}")

    def stored(self, topic: str = "logs") -> list[int]:
        return [int(value) for name, value in self.kafka.stored if name == topic]

    def first_of(self, topic: str) -> int | None:
        queued = [message.topic() for message, _, _ in self.kafka.queue]
        return queued.index(topic) if topic in queued else None

    def close(self) -> None:
        self.drain.close_journals()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_without_a_backlog_there_is_nothing_to_drain(world: World) -> None:
    world.send("logs", "logs")

    world.drain.visit_all()

    assert len(world.kafka.queue) == 2
    assert world.drain.pending == 0
    assert not world.drain.behind


def test_what_finds_the_queue_full_leaves_later_in_its_order(tmp_path: Path) -> None:
    world = World(tmp_path, room=3)
    world.send(*["logs"] * 5)
    world.send(*["logs"] * 2)

    assert world.drain.behind == Counter({("acme", "logs"): 4})
    world.deliver_everything()

    assert world.stored() == list(range(7))
    assert not world.drain.behind


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
    world.clock.advance(BACK_OFF_S)
    world.drain.visit_all()

    assert at_once == 0
    assert len(world.kafka.queue) == 1


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
    segment, at, sequence = world.journal.append("acme", 1, [("logs", 11, b"k", b"0"), ("logs", 2, b"k", b"1")])
    world.journal.mark(segment, at, sequence, [0, 1], PENDING)
    world.drain.behind["acme", "logs"] += 2
    world.topics["logs"] = TopicPolicy("logs", 3, 1 << 20)
    world.kafka.room = 100

    world.drain.visit_all()

    assert world.kafka.partitions == [UNASSIGNED, 2]


def test_the_backlog_is_not_read_while_all_of_its_topics_wait(tmp_path: Path) -> None:
    world = World(tmp_path, topics=())
    world.send("logs")
    (segment, _, _, _) = next(iter(world.journal.backlog()))
    os.dup2(os.open(os.devnull, os.O_RDONLY), segment.fd)  # reading it now would find nothing and lose its place

    world.drain.visit_all()

    assert segment.drained_to_bytes < segment.size_bytes
    assert world.drain.pending == 1


# --- journals of dead workers ----------------------------------------------------------------------------------------
def orphan(root: Path, *topics: str) -> Path:
    """What a killed worker leaves."""
    dead = World(root, topics=())
    dead.send(*topics)
    dead.close()
    return dead.journal.directory


def test_what_a_dead_worker_left_is_drained_and_its_directory_removed(world: World) -> None:
    directory = orphan(world.root, "logs", "logs", "audit")

    world.drain.adopt(world.root, **SIZES)
    waiting = world.drain.pending
    world.deliver_everything()
    world.drain.visit_all()

    assert waiting == 3
    assert (world.stored("logs"), world.stored("audit")) == ([0, 1], [2])
    assert world.drain.adopted == []
    assert not directory.exists()


def test_what_is_sent_late_keeps_the_time_of_its_acceptance(world: World) -> None:
    orphan(world.root, "logs")
    world.drain.adopt(world.root, **SIZES)

    world.drain.visit_all()

    assert world.kafka.timestamps == [NOW_WALL_MS + 1]


def test_a_new_event_waits_behind_what_a_dead_worker_left(world: World) -> None:
    orphan(world.root, "logs")
    world.sent = 1

    world.drain.adopt(world.root, **SIZES)
    world.send("logs")
    world.deliver_everything()

    assert world.stored() == [0, 1]


def test_a_worker_that_dies_again_leaves_what_it_had_adopted(world: World) -> None:
    orphan(world.root, "logs", "logs")
    world.drain.adopt(world.root, **SIZES)
    world.drain.visit_all()
    world.kafka.acknowledge()
    world.close()

    third = World(world.root)
    third.drain.adopt(world.root, **SIZES)
    third.deliver_everything()

    assert sorted(third.stored()) == [0, 1]
    third.close()


def test_of_two_workers_one_adopts(tmp_path: Path) -> None:
    workers = [World(tmp_path) for _ in range(2)]
    for _ in range(10):
        orphan(tmp_path, "logs")
    barrier = threading.Barrier(2)

    def adopt(world: World) -> None:
        barrier.wait()
        world.drain.adopt(tmp_path, **SIZES)

    threads = [threading.Thread(target=adopt, args=(world,)) for world in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for world in workers:
        world.deliver_everything()

    names = [journal.name for world in workers for journal in world.drain.adopted]
    assert len(names) == len(set(names)) == 10
    assert sum(len(world.stored()) for world in workers) == 10


def test_nobody_adopts_the_journal_of_a_worker_that_lives(world: World) -> None:
    living = World(world.root, topics=())
    living.send("logs")

    world.drain.adopt(world.root, **SIZES)

    assert world.drain.adopted == []
    assert world.drain.pending == 0


def test_a_journal_that_cannot_be_read_does_not_keep_the_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    orphan(world.root, "logs")
    world.drain.adopt(world.root, **SIZES)
    (broken,) = world.drain.adopted
    (segment, at, _, _) = next(iter(broken.backlog()))
    os.pwrite(segment.fd, b"\xff", at + 9)
    orphan(world.root, "audit")
    world.drain.adopt(world.root, **SIZES)

    world.drain.visit_all()

    assert [message.topic() for message, _, _ in world.kafka.queue] == ["audit"]
    assert broken.name in caplog.text


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
                world.clock.advance(BACK_OFF_S / 2)
            case "verify", []:
                world.verify("audit")
            case "adopt", []:
                world.drain.adopt(world.root, **SIZES)
        assert all(count > 0 for count in world.drain.behind.values())
        assert sum(world.drain.behind.values()) == world.drain.pending
    world.verify("audit")
    world.kafka.room = 1_000
    world.deliver_everything()

    assert sorted([*world.stored("logs"), *world.stored("audit")]) == list(range(world.sent))
    for topic in ("logs", "audit"):
        for tenant in ("acme", "bolt"):
            order = [number for number in world.stored(topic) if tenant_of[number] == tenant]
            assert order == sorted(order)
    assert not world.drain.behind
    world.close()
