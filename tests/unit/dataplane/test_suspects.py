"""A bad record fails its whole batch: its neighbours arrive, and it alone becomes a dead letter, and not at once."""

import os
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.drain import IDLE_S
from ingest.dataplane.faults import Fault
from ingest.dataplane.flows import BACK_OFF_S
from ingest.dataplane.replay import DAMAGED
from ingest.dataplane.segments import HELD
from ingest.dataplane.suspects import AGAIN_S, TRIES_PER_VISIT, WAITS_S, keep
from ingest.dataplane.undeliverable import Undeliverable
from tests.unit.dataplane.drain_world import TIMED_OUT, World
from tests.unit.dataplane.journal_world import totals
from tests.unit.dataplane.world import NOW_WALL_MS, records

TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refuse_batch(world: World) -> None:
    """Brokers refuse a batch whole."""
    while world.kafka.queue:
        world.kafka.fail(TOO_LARGE)
    world.settle()


def try_once(world: World, wait_s: float, bad: bytes) -> list[bytes]:
    """After the wait each suspect is tried alone; Kafka refuses the bad one. Returns what was tried."""
    world.pass_time(wait_s)
    world.drain.visit_all()
    tried = [message.value() for message, _, _ in world.alone.queue]
    for value in tried:
        world.alone.fail(TOO_LARGE) if value == bad else world.alone.acknowledge()
    world.settle()
    return tried


def test_neighbours_arrive_and_the_bad_one_becomes_a_dead_letter_after_the_third_try_alone(world: World) -> None:
    world.send(*["logs"] * 5)
    refuse_batch(world)

    tries = [try_once(world, wait_s, b"2") for wait_s in WAITS_S]
    world.drain.visit_all()

    assert [len(tried) for tried in tries] == [5, 1, 1]
    assert world.stored() == [0, 1, 3, 4]
    (letter,) = world.letters
    assert (letter.record[3], letter.tenant, letter.sequence, letter.fault) == (b"2", "acme", 2, Fault.RECORD)
    assert [attempt.code for attempt in letter.attempts] == ["MSG_SIZE_TOO_LARGE"] * 4


def test_each_try_comes_when_its_wait_is_over_and_no_sooner(world: World) -> None:
    world.send("logs")
    refuse_batch(world)

    early, due = [], []
    for wait_s in (0.1, 0.2, 0.4):
        early += try_once(world, wait_s * 0.9, b"0")
        due += try_once(world, wait_s * 0.2, b"0")

    assert (early, due) == ([], [b"0"] * 3)


def test_a_neighbour_that_was_tried_alone_and_taken_is_forgotten(world: World) -> None:
    world.send("logs", "logs")
    refuse_batch(world)

    try_once(world, WAITS_S[0], b"0")
    world.kafka.acknowledge_all()

    assert len(world.suspects) == 1
    assert world.stored() == [1]
    assert totals(world.journal).delivered == 1


def test_many_suspects_leave_the_drain_its_time(world: World) -> None:
    world.send(*["logs"] * (TRIES_PER_VISIT + 10))
    refuse_batch(world)

    world.pass_time(WAITS_S[0])
    world.drain.visit_all()
    at_once = len(world.alone.queue)
    world.drain.visit_all()

    assert (at_once, len(world.alone.queue)) == (TRIES_PER_VISIT, TRIES_PER_VISIT + 10)


def test_a_dead_letter_is_the_journals_until_it_is_kept(world: World) -> None:
    world.send("logs")
    refuse_batch(world)
    for wait_s in WAITS_S:
        try_once(world, wait_s, b"0")
    world.drain.visit_all()
    before = (world.journal.unsettled, totals(world.journal).pending)

    keep(world.letters)

    assert before == (1, 1)
    assert world.journal.unsettled == 0
    assert (totals(world.journal).dead_lettered, totals(world.journal).pending) == (1, 0)


def test_a_dead_letter_nobody_has_room_for_is_offered_again(world: World) -> None:
    world.takes_letters = False
    world.send("logs")
    refuse_batch(world)
    for wait_s in WAITS_S:
        try_once(world, wait_s, b"0")
    world.drain.visit_all()
    refused = len(world.suspects)

    world.takes_letters = True
    world.drain.visit_all()
    too_early = list(world.letters)
    world.pass_time(AGAIN_S)
    world.drain.visit_all()

    assert (refused, too_early) == (1, [])
    assert [letter.record[3] for letter in world.letters] == [b"0"]
    assert len(world.suspects) == 0


def test_a_suspect_that_kafka_cannot_take_now_waits_like_any_other(world: World) -> None:
    world.send("logs")
    refuse_batch(world)
    world.pass_time(WAITS_S[0])
    world.drain.visit_all()

    world.alone.fail(TIMED_OUT)
    world.settle()
    pending = world.journal.pending
    world.deliver_everything()

    assert pending == 1
    assert world.stored() == [0]
    assert world.letters == []


def test_the_next_owner_tries_again_what_was_held(world: World) -> None:
    world.send("logs", "logs")
    refuse_batch(world)
    segment = world.journal.segment_of(0)
    assert segment is not None
    held = segment.states.count(HELD)
    world.close()

    heir = World(world.root)
    heir.drain.adopt(heir.root, segment_bytes=heir.journal.segment_bytes, max_bytes=heir.journal.max_bytes)
    heir.deliver_everything()

    assert held == 2
    assert heir.stored() == [0, 1]
    heir.close()


def test_what_has_waited_for_too_long_becomes_a_dead_letter_whoevers_fault_it_is(world: World) -> None:
    world.send("not-yet")
    world.pass_time(3_601)

    world.drain.visit_all()
    world.drain.visit_all()

    (letter,) = world.letters
    assert (letter.fault, letter.record[0]) == (Fault.CLUSTER, "not-yet")
    keep(world.letters)
    assert world.journal.unsettled == 0
    assert totals(world.journal).dead_lettered == 1
    assert world.behind() == {}


def test_what_was_parked_for_too_long_says_why_it_was(world: World) -> None:
    world.send("logs")
    world.kafka.fail(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    world.settle()
    world.pass_time(3_601)

    world.drain.visit_all()
    world.drain.visit_all()

    (letter,) = world.letters
    assert "authorization" in letter.attempts[-1].detail


# --- one tenant beside another ---------------------------------------------------------------------------------------
def send_one_batch(world: World, tenant: str, events: int) -> None:
    world.send(*["logs"] * events, tenant=tenant)
    refuse_batch(world)


def give_up_on(world: World, events: int) -> None:
    """Acme's records that waited for too long: each is a dead letter at once."""
    world.send(*["not-yet"] * events)
    world.pass_time(3_700)
    world.drain.visit_all()
    assert len(world.suspects) == events


def visit_for(world: World, seconds: float, bad: bytes = b"") -> None:
    """As the drain's thread does, with a Kafka that takes what is good."""
    for _ in range(round(seconds / IDLE_S)):
        world.pass_time(IDLE_S)
        world.drain.visit_all()
        while world.alone.queue:
            message, _, _ = world.alone.queue[0]
            world.alone.fail(TOO_LARGE) if message.value() == bad else world.alone.acknowledge()
        world.settle()


@pytest.mark.parametrize("takes_letters", [True, False])
def test_a_tenants_dead_letters_keep_no_other_tenants_neighbours(world: World, takes_letters: bool) -> None:
    world.takes_letters = takes_letters
    give_up_on(world, 3_000)
    first = world.sent
    send_one_batch(world, "bolt", 500)

    visit_for(world, 1.0)

    assert world.stored() == list(range(first, first + 500))


def test_a_tenants_many_first_tries_leave_another_tenant_its_share(world: World) -> None:
    send_one_batch(world, "acme", 3_000)
    first = world.sent
    send_one_batch(world, "bolt", 300)

    visit_for(world, 1.0)

    of_bolt = [number for number in world.stored() if number >= first]
    assert len(of_bolt) == 300
    assert len(world.stored()) > 600


class CountingWorld(World):
    offers = 0

    def _offer(self, letter: Undeliverable) -> bool:
        self.offers += 1
        return super()._offer(letter)


def test_after_a_no_a_tenants_dead_letters_are_left_alone_for_a_while(tmp_path: Path) -> None:
    world = CountingWorld(tmp_path)
    world.takes_letters = False
    give_up_on(world, 200)
    world.offers = 0
    world.drain.visit_all()
    at_once = world.offers

    visit_for(world, 1.0)
    refused = world.offers
    world.takes_letters = True
    visit_for(world, 1.0)

    assert at_once <= 1
    assert refused <= 3
    assert len(world.letters) == 200


# --- a disk that fails -----------------------------------------------------------------------------------------------
def test_a_suspect_that_cannot_be_read_any_more_is_given_up_and_keeps_nobody(world: World) -> None:
    world.send("logs", "logs")
    refuse_batch(world)
    segment = world.journal.segment_of(0)
    assert segment is not None
    os.pwrite(segment.fd, b"\xff", segment.places[0] + 10)
    world.flows.wait(world.flows.of("bolt", "logs"), world.journal.append("bolt", NOW_WALL_MS, records(1)), [0])

    world.pass_time(WAITS_S[0])
    world.drain.visit_all()

    assert [message.value() for message, _, _ in world.kafka.queue] == [b"value-0"]
    assert len(world.suspects) == 0
    assert totals(world.journal).discarded == {DAMAGED: 2}


def test_a_suspect_that_cannot_be_read_now_is_tried_again(world: World) -> None:
    world.send("logs")
    refuse_batch(world)
    segment = world.journal.segment_of(0)
    assert segment is not None
    disk = os.dup(segment.fd)
    directory = os.open(world.root, os.O_RDONLY)
    os.dup2(directory, segment.fd)  # which no disk lets one read
    world.pass_time(WAITS_S[0])
    world.drain.visit_all()

    os.dup2(disk, segment.fd)
    world.pass_time(AGAIN_S)
    world.drain.visit_all()

    assert [message.value() for message, _, _ in world.alone.queue] == [b"0"]
    os.close(disk)
    os.close(directory)


def test_of_a_failed_call_that_cannot_be_looked_up_everything_comes_back(world: World) -> None:
    world.send("logs", "logs")
    world.send("audit")
    segment = world.journal.segment_of(0)
    assert segment is not None
    os.pwrite(segment.fd, b"\xff", segment.places[0] + 10)

    world.kafka.fail(TIMED_OUT)
    world.kafka.acknowledge_all()
    world.settle()

    assert (world.journal.pending, world.journal.unsettled) == (2, 2)
    world.pass_time(BACK_OFF_S)
    world.drain.visit_all()
    assert (totals(world.journal).discarded, totals(world.journal).delivered) == ({DAMAGED: 2}, 1)
