"""`journal drain` is done when nothing waits that no living worker holds, and says before that what it waits for."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_django import Settings

from ingest.dataplane.flow import Parked
from ingest.dataplane.journal import Journal
from ingest.dataplane.policy import TopicPolicy
from ingest.management.commands.journal import Command
from tests.programs import poll_until
from tests.unit.dataplane.drain_world import SIZES, World
from tests.unit.dataplane.world import NOW_WALL_MS


class Node(NamedTuple):
    """What the command looks at of a worker."""

    engine: World
    topics: dict[str, TopicPolicy]
    snapshot: object = "a snapshot"


@pytest.fixture
def world(tmp_path: Path, settings: Settings) -> Iterator[World]:
    settings.FOREBAY_JOURNAL_DIR = tmp_path
    made = World(tmp_path)
    dead = Journal.create(tmp_path, **SIZES)
    dead.append("acme", NOW_WALL_MS, [("logs", 0, b"k", b"0", 0), ("logs", 0, b"k", b"1", 0)])
    dead.close()
    yield made
    made.close()


def left(world: World, **changes: Any) -> str:
    return Command()._left(Node(world, world.topics)._replace(**changes))


def test_what_nobody_holds_is_not_done_before_it_is_opened_and_delivered(world: World) -> None:
    nobodys = left(world)
    world.drain.adopt(world.root, **SIZES)
    opened = left(world)
    world.deliver_everything()

    assert nobodys == "0 events wait in 0 journals, 1 not opened"
    assert opened == "2 events wait in 1 journals, 0 not opened"
    assert left(world) == ""


def test_it_is_not_done_while_a_journal_is_being_opened(world: World) -> None:
    def adopt() -> bool:
        world.drain.adopt(world.root, **SIZES)
        return bool(world.drain.adopted)

    # As the drain does, again and again: who asks whether it is held has its lock for a moment.
    adopting = threading.Thread(target=poll_until, args=(adopt, 20))
    with world.lane_lock:  # its events cannot be lined up
        adopting.start()
        assert poll_until(lambda: world.drain.is_adopting and "1 not opened" not in left(world), 20)
        being_opened = left(world)
    adopting.join()

    assert being_opened == "0 events wait in 0 journals, 0 not opened, others are being opened"
    assert left(world) == "2 events wait in 1 journals, 0 not opened"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"snapshot": None, "topics": {}}, "there is no snapshot: is `manage.py snapshot` running"),
        ({"topics": {}}, "the snapshot does not know logs"),
    ],
)
def test_without_a_snapshot_that_knows_its_topics_it_says_so(world: World, changes: dict[str, Any], cause: str) -> None:
    world.drain.adopt(world.root, **SIZES)

    told = left(world, **changes)

    assert told.startswith("2 events wait in 1 journals")
    assert cause in told


def test_what_a_parked_topic_or_an_open_breaker_keeps_is_said(world: World) -> None:
    world.drain.adopt(world.root, **SIZES)
    world.flows.park(world.flows.of("acme", "logs"), Parked("PARKED", "ann", 0))
    world.cluster.record(0, 10, world.cluster.epoch)

    told = left(world)

    assert "1 parked: see `topic parked`" in told
    assert "the cluster's breaker is OPEN" in told
