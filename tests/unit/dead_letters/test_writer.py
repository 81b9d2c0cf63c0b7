"""The writer thread: bounded, fair to tenants, and it calls kept only what is committed."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from django.db import OperationalError
from pytest_django import Settings

from ingest.dataplane.undeliverable import Undeliverable
from ingest.deadletters import DeadLetterWriter
from tests.programs import poll_until
from tests.unit.dead_letters.world import undeliverable
from tests.unit.tenants.quota_world import FakeClock


class Table:
    """Where letters are kept; it can be away, and it can be slow."""

    def __init__(self) -> None:
        self.kept: list[Undeliverable] = []
        self.is_away = False
        self.tries = 0
        self.answers = threading.Event()
        self.answers.set()

    def keep(self, batch: Sequence[Undeliverable]) -> None:
        self.tries += 1
        assert self.answers.wait(20)
        if self.is_away:
            raise OperationalError("the database is away")
        self.kept += batch


class World:
    def __init__(self) -> None:
        self.table, self.clock = Table(), FakeClock()
        self.settled: list[Undeliverable] = []
        self.writer = DeadLetterWriter(self.settled.extend, keep=self.table.keep, now_s=self.clock)


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    settings.FOREBAY_DEAD_LETTER_MAX_PER_S = 10
    settings.FOREBAY_DEAD_LETTER_QUEUE_BYTES = 10_000
    made = World()
    yield made
    made.table.answers.set()
    made.table.is_away = False
    made.writer.stop()


def soon(condition: Callable[[], bool]) -> bool:
    return poll_until(condition, 10)


def test_what_is_committed_is_called_kept(world: World) -> None:
    world.writer.start()

    offered = [world.writer.offer(undeliverable(number)) for number in range(3)]

    assert offered == [True, True, True]
    assert soon(lambda: len(world.settled) == 3)
    assert world.table.kept == world.settled


def test_nothing_is_called_kept_while_the_database_is_away_and_nothing_is_lost(world: World) -> None:
    world.table.is_away = True
    world.writer.start()
    world.writer.offer(undeliverable(1))
    assert soon(lambda: world.table.tries >= 2)
    settled_meanwhile = list(world.settled)

    world.table.is_away = False

    assert settled_meanwhile == []
    assert soon(lambda: [one.index for one in world.settled] == [1])


def test_a_full_queue_says_no_until_there_is_room(world: World) -> None:
    large = undeliverable(0, record=("logs", 0, b"", b"x" * 6_000, 0))
    world.table.answers.clear()
    world.writer.start()
    first = world.writer.offer(large)

    second = world.writer.offer(large)
    world.table.answers.set()

    assert (first, second) == (True, False)
    assert soon(lambda: world.writer.offer(large))


def test_a_letter_larger_than_the_queue_gets_through_an_empty_one(world: World) -> None:
    world.writer.start()

    offered = world.writer.offer(undeliverable(0, record=("logs", 0, b"", b"x" * 50_000, 0)))

    assert offered
    assert soon(lambda: len(world.settled) == 1)


def test_a_tenant_has_its_share_of_a_second_and_leaves_others_theirs(world: World) -> None:
    tiny = ("logs", 0, b"", b"{}", 0)
    acme = [world.writer.offer(undeliverable(number, record=tiny)) for number in range(12)]

    bolt = world.writer.offer(undeliverable(0, tenant="bolt", record=tiny))
    world.clock.advance(0.1)

    assert acme == [True] * 10 + [False] * 2
    assert bolt
    assert world.writer.offer(undeliverable(13, record=tiny))


def test_a_tenant_that_asks_all_the_time_has_its_share_all_the_same(world: World) -> None:
    tiny = ("logs", 0, b"", b"{}", 0)
    number = 0

    for _ in range(200):  # ten seconds, twenty times a second
        number += world.writer.offer(undeliverable(number, record=tiny))
        world.clock.advance(0.05)

    assert 100 <= number <= 111


def test_a_writer_that_stops_writes_what_it_has_taken_over(world: World) -> None:
    for number in range(5):
        world.writer.offer(undeliverable(number))

    world.writer.start()
    world.writer.stop()

    assert len(world.settled) == 5


def test_a_writer_that_stops_without_a_database_calls_nothing_kept(world: World) -> None:
    world.table.is_away = True
    world.writer.offer(undeliverable(1))
    world.writer.start()

    world.writer.stop()

    assert (world.settled, world.table.kept) == ([], [])
