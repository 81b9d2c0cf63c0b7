"""What librdkafka reports, in whatever order, is what the journal settles: no record more, no record less."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.dataplane.acks import Acknowledgements, Place
from ingest.dataplane.in_flight import InFlight, Produce
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.segments import HELD, PENDING, SETTLED, Record
from ingest.dataplane.suspects import WAITS_S
from tests.unit.dataplane.engine_world import EngineWorld
from tests.unit.dataplane.journal_world import totals
from tests.unit.dataplane.world import NOW_WALL_MS, TOPIC, Report, records

TIMED_OUT = KafkaError._MSG_TIMED_OUT
TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE


class World(EngineWorld):
    """One journal, and requests of Acme for one topic that are handed over whatever would keep them back."""

    def __init__(self, root: Path, room: int = 1_000_000) -> None:
        size = SETTLE_RESERVE_BYTES + 65_536
        journal = Journal.create(root, segment_bytes=size, max_bytes=4 * size)
        super().__init__(journal, {"logs": TOPIC}, room=room)
        self.flow = self.flows.of("acme", "logs")

    def hand_over(
        self,
        sent: list[Record],
        indexes: Sequence[int],
        waiting: Acknowledgements | None = None,
        produce: Produce | None = None,
    ) -> tuple[InFlight, list[int]]:
        """Journal and produce; what the queue had no room for is marked as the pipeline does."""
        origin = self.journal.append("acme", 1, sent)
        in_flight = InFlight(self.completed, origin, self.flow, indexes, 1, 0, self.clock(), waiting)
        self.flow.handed += 1
        self.flow.line.outstanding.append(in_flight)
        left = list(in_flight.produce(produce or self.kafka.produce, sent, NOW_WALL_MS))
        if left:
            self.flows.wait(self.flow, origin, left)
        return in_flight, left

    def send(
        self, sent: list[Record], *, indexes: list[int] | None = None, waiting: Acknowledgements | None = None
    ) -> tuple[InFlight, list[int]]:
        return self.hand_over(sent, range(len(sent)) if indexes is None else indexes, waiting)

    def states(self, in_flight: InFlight) -> list[int]:
        self.settlements.settle_all()
        return list(in_flight.segment.states)

    def try_alone(self) -> None:
        """What was refused is tried in a batch of its own."""
        self.pass_time(WAITS_S[0])
        self.suspects.visit()

    def pending(self) -> int:
        return self.journal.pending


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.journal.close()


def test_nothing_settles_before_the_last_report(world: World) -> None:
    in_flight, _ = world.send(records(3))

    world.kafka.acknowledge()
    world.kafka.acknowledge()

    assert SETTLED not in world.states(in_flight)
    world.kafka.acknowledge()
    assert world.states(in_flight) == [SETTLED] * 3


@settings(deadline=None)
@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_reports_may_come_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], failing: set[int]
) -> None:
    world = World(tmp_path_factory.mktemp("delivery"))
    sent = records(6)
    in_flight, _ = world.send(sent)

    for number in order:
        at = [message.value() for message, _, _ in world.kafka.queue].index(sent[number][3])
        world.kafka.fail(TIMED_OUT, at) if number in failing else world.kafka.acknowledge(at)

    assert world.states(in_flight) == [PENDING if number in failing else SETTLED for number in range(6)]
    assert world.pending() == len(failing)
    world.journal.close()


def test_what_the_queue_has_no_room_for_is_told_and_the_rest_settles(tmp_path: Path) -> None:
    world = World(tmp_path, room=2)

    in_flight, left = world.send(records(5))
    world.kafka.acknowledge_all()

    assert left == [2, 3, 4]
    assert world.states(in_flight) == [SETTLED, SETTLED, PENDING, PENDING, PENDING]


def test_a_queue_without_any_room_leaves_all_of_it(tmp_path: Path) -> None:
    world = World(tmp_path, room=0)

    in_flight, left = world.send(records(3))

    assert left == [0, 1, 2]
    assert world.states(in_flight) == [PENDING] * 3


def test_reports_that_come_while_records_are_still_produced_are_not_lost(tmp_path: Path) -> None:
    """The poll thread runs beside: here it reports each record within produce(), before the next is handed over."""
    world = World(tmp_path)
    sent = records(4)

    def produce(topic: str, value: bytes, key: bytes | None, partition: int, report: Report, timestamp: int) -> None:
        if value == sent[3][3]:
            raise BufferError("Local: Queue full")
        world.kafka.produce(topic, value, key, partition, report, timestamp)
        world.kafka.acknowledge_all()
        world.settlements.settle_all()

    in_flight, left = world.hand_over(sent, range(4), produce=produce)

    assert list(left) == [3]
    assert world.states(in_flight)[:3] == [SETTLED] * 3


def test_a_record_that_produce_refuses_fails_alone(world: World) -> None:
    sent = records(3)
    world.kafka.refused[sent[1][3]] = KafkaError._UNKNOWN_PARTITION

    in_flight, left = world.send(sent)
    world.kafka.acknowledge_all()

    assert left == []
    assert world.states(in_flight) == [SETTLED, PENDING, SETTLED]


def test_when_produce_refuses_everything_it_comes_back_without_a_report(world: World) -> None:
    sent = records(2)
    world.kafka.refused = {record[3]: KafkaError._UNKNOWN_TOPIC for record in sent}

    in_flight, _ = world.send(sent)

    assert world.states(in_flight) == [PENDING, PENDING]
    assert world.pending() == 2


def test_of_equal_records_as_many_come_back_as_failed(world: World) -> None:
    same = [("logs", -1, b"k", b"same", 0)] * 4

    in_flight, _ = world.send(same)
    world.kafka.fail(TIMED_OUT, 3)
    world.kafka.fail(TIMED_OUT, 0)
    world.kafka.acknowledge_all()

    assert sorted(world.states(in_flight)) == sorted([PENDING, PENDING, SETTLED, SETTLED])


def test_equal_records_that_fail_in_two_ways_both_come_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    same = [("logs", -1, b"k", b"same", 0)] * 2
    calls: list[bytes] = []

    def produce(topic: str, value: bytes, key: bytes | None, partition: int, report: Report, timestamp: int) -> None:
        world.kafka.refused = {} if calls else {b"same": KafkaError._UNKNOWN_PARTITION}
        calls.append(value)
        world.kafka.produce(topic, value, key, partition, report, timestamp)

    in_flight, _ = world.hand_over(same, range(2), produce=produce)
    world.kafka.fail(TIMED_OUT)

    assert world.states(in_flight) == [PENDING, PENDING]


def test_a_request_over_two_topics_settles_each_by_itself(world: World) -> None:
    sent = [("logs", -1, b"k", b"a", 0), ("audit", -1, b"k", b"b", 0), ("logs", -1, b"k", b"c", 0)]
    in_flight, _ = world.send(sent, indexes=[0, 2])

    world.kafka.acknowledge_all()

    assert world.states(in_flight)[0::2] == [SETTLED, SETTLED]
    assert world.states(in_flight)[1] != SETTLED


def test_a_record_that_kafka_never_takes_is_held(world: World) -> None:
    in_flight, _ = world.send(records(2))

    world.kafka.fail(TOO_LARGE)
    world.kafka.acknowledge_all()

    assert world.states(in_flight) == [HELD, SETTLED]
    assert world.pending() == 0
    assert len(world.suspects) == 1


def test_a_record_without_a_key_has_none(world: World) -> None:
    world.send([("logs", -1, b"", b"a", 0), ("logs", -1, b"k", b"b", 0)])

    assert world.kafka.keys == [None, b"k"]


def test_a_record_is_as_old_as_its_acceptance(world: World) -> None:
    world.send(records(2))

    assert world.kafka.timestamps == [NOW_WALL_MS, NOW_WALL_MS]


def test_reports_for_what_is_settled_already_change_nothing(world: World) -> None:
    in_flight, _ = world.send(records(2))
    world.kafka.acknowledge_all()
    world.settlements.settle_all()

    again = InFlight(world.completed, in_flight.origin, world.flow, range(2), 1, 0, world.clock())
    again.produce(world.kafka.produce, records(2), NOW_WALL_MS)
    world.kafka.fail(TIMED_OUT)
    world.kafka.acknowledge_all()

    assert world.states(in_flight) == [SETTLED, SETTLED]
    assert world.journal.unsettled == 0


# --- with a sender that waits ----------------------------------------------------------------------------------------
def test_a_waiting_sender_gets_every_place(world: World) -> None:
    waiting = Acknowledgements(3)
    world.send(records(3), waiting=waiting)

    world.kafka.acknowledge_all()

    assert waiting.wait(60) == {0: Place("logs", 0, 0), 1: Place("logs", 0, 1), 2: Place("logs", 0, 2)}


def test_of_a_refused_batch_the_sender_hears_when_each_record_was_tried_alone(world: World) -> None:
    waiting = Acknowledgements(3)
    in_flight, _ = world.send(records(3), waiting=waiting)

    for _ in range(3):
        world.kafka.fail(TOO_LARGE)
    held = world.states(in_flight)
    told_of_the_batch = waiting.results.copy()
    world.try_alone()
    world.alone.acknowledge()
    world.alone.fail(TOO_LARGE)
    world.alone.acknowledge()

    assert (held, told_of_the_batch) == ([HELD] * 3, {})
    assert world.states(in_flight) == [SETTLED] * 3
    told = waiting.wait(60)
    assert [isinstance(told[index], Place) for index in range(3)] == [True, False, True]
    total = totals(world.journal)
    assert (total.accepted, total.delivered, total.rejected) == (2, 2, {"undeliverable": 1})
    assert len(world.suspects) == 0


def test_a_record_whose_sender_has_given_up_waiting_is_tried_as_often_as_any(world: World) -> None:
    waiting = Acknowledgements(1)
    in_flight, _ = world.send(records(1), waiting=waiting)
    world.kafka.fail(TOO_LARGE)
    world.settlements.settle_all()
    world.try_alone()
    answered = waiting.wait(0)

    world.alone.fail(TOO_LARGE)

    assert answered == {}
    assert world.states(in_flight) == [HELD]
    assert len(world.suspects) == 1


def test_a_record_that_could_not_be_tried_alone_in_time_is_pending_for_its_sender(world: World) -> None:
    waiting = Acknowledgements(2)
    in_flight, _ = world.send(records(2), waiting=waiting)
    world.kafka.fail(TOO_LARGE)
    world.kafka.fail(TOO_LARGE)
    world.settlements.settle_all()
    world.alone.room = 1

    world.try_alone()
    world.alone.acknowledge()

    assert world.states(in_flight) == [SETTLED, HELD]
    assert not waiting.is_complete
    assert waiting.wait(0) == {0: Place("logs", 0, 0)}


def test_what_produce_itself_refuses_is_told_at_once(world: World) -> None:
    sent = records(2)
    world.kafka.refused[sent[0][3]] = TOO_LARGE
    waiting = Acknowledgements(2)

    in_flight, _ = world.send(sent, waiting=waiting)
    world.kafka.acknowledge_all()

    assert waiting.is_complete
    answered = waiting.wait(60)
    assert isinstance(answered[0], KafkaError)
    assert answered[1] == Place("logs", 0, 0)
    assert world.states(in_flight) == [SETTLED, SETTLED]


def test_what_has_no_room_is_not_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, room=1)
    waiting = Acknowledgements(3)

    in_flight, left = world.send(records(3), waiting=waiting)
    world.kafka.acknowledge_all()

    assert left == [1, 2]
    assert waiting.is_complete
    assert list(waiting.wait(60)) == [0]
    assert world.states(in_flight) == [SETTLED, PENDING, PENDING]


def test_the_clusters_fault_leaves_a_waiting_senders_record_pending(world: World) -> None:
    waiting = Acknowledgements(1)
    in_flight, _ = world.send(records(1), waiting=waiting)

    world.kafka.fail(TIMED_OUT)

    assert world.states(in_flight) == [PENDING]
    assert world.pending() == 1


@settings(deadline=None, max_examples=80)
@given(
    room=st.integers(0, 8),
    refused=st.sets(st.integers(0, 5)),
    fates=st.lists(st.sampled_from([None, TIMED_OUT, TOO_LARGE]), min_size=8, max_size=8),
    waits=st.booleans(),
)
def test_every_record_ends_settled_pending_or_held_and_none_in_flight(
    tmp_path_factory: pytest.TempPathFactory, room: int, refused: set[int], fates: list[int | None], waits: bool
) -> None:
    world = World(tmp_path_factory.mktemp("delivery"), room)
    sent = records(6)
    world.kafka.refused = {sent[at][3]: KafkaError._UNKNOWN_PARTITION for at in refused}
    waiting = Acknowledgements(6) if waits else None

    in_flight, left = world.send(sent, waiting=waiting)
    produced = [message.value() for message, _, _ in world.kafka.queue]
    for fate in fates[: len(produced)]:
        world.kafka.acknowledge() if fate is None else world.kafka.fail(fate)

    expected = []
    for number, record in enumerate(sent):
        if number in left or record[3] not in produced:
            expected.append(PENDING)
        else:
            fate = fates[produced.index(record[3])]
            expected.append({None: SETTLED, TIMED_OUT: PENDING, TOO_LARGE: HELD}[fate])
    assert world.states(in_flight) == expected
    if waiting is not None:
        assert len(waiting.wait(0)) == len(sent) - len(left) - expected.count(HELD)
    world.journal.close()
