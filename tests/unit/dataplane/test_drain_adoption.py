"""Unit: what dead workers left behind is adopted and drained, by one worker only."""

import os
import threading
from pathlib import Path

import pytest

from ingest.dataplane.drain import TIDY_EVERY_S
from ingest.dataplane.journal import Journal
from ingest.dataplane.replay import DAMAGED
from tests.unit.dataplane.drain_world import SIZES, World
from tests.unit.dataplane.journal_world import full_disk, pending, totals
from tests.unit.dataplane.world import NOW_WALL_MS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
    world.pass_time(TIDY_EVERY_S)
    world.drain.visit_all()
    kept = directory.exists()
    world.confirm_all()
    world.pass_time(TIDY_EVERY_S)
    world.drain.visit_all()

    assert waiting == 3
    assert kept, "its accounts were not kept elsewhere yet"
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
    (segment, _, _) = next(iter(broken.backlog()))
    os.pwrite(segment.fd, b"\xff", segment.places[0] + 9)
    orphan(world.root, "audit")
    world.drain.adopt(world.root, **SIZES)

    world.drain.visit_all()

    assert [message.topic() for message, _, _ in world.kafka.queue] == ["audit"]
    assert broken.name in caplog.text


# --- what cannot be adopted ------------------------------------------------------------------------------------------
def test_a_directory_that_cannot_be_opened_keeps_no_other_and_is_told_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = sorted(orphan(world.root, "logs") for _ in range(3))
    stranger = first / "copy-of.segment"
    stranger.touch()

    for _ in range(3):
        world.drain.adopt(world.root, **SIZES)
    adopted = {journal.directory for journal in world.drain.adopted}
    stranger.unlink()
    world.drain.adopt(world.root, **SIZES)

    assert adopted == set(others)
    assert caplog.text.count(f"journal {first.name} cannot be adopted") == 1
    assert len(world.drain.adopted) == 3


def test_of_what_goes_bad_while_it_is_lined_up_only_that_is_given_up(world: World) -> None:
    journal = Journal.adopt(orphan(world.root, "logs", "logs", "audit"), **SIZES)
    journal.append("acme", NOW_WALL_MS, [("logs", 0, b"k", b"3", 0)])
    journal.close()
    journal = Journal.adopt(journal.directory, **SIZES)
    os.pwrite(journal._segments[0].fd, b"\xff", journal._segments[0].places[0] + 10)

    world.drain._take_over(journal)
    world.deliver_everything()

    assert world.stored() == [3]
    assert totals(journal).discarded == {DAMAGED: 3}


def test_a_journal_whose_backlog_cannot_be_read_is_let_go_and_nothing_of_it_is_in_line(world: World) -> None:
    directory = orphan(world.root, "logs", "audit")
    journal = Journal.adopt(directory, **SIZES)
    reading, writing = os.pipe()
    os.dup2(reading, journal._segments[0].fd)  # what cannot be read at a place

    with pytest.raises(OSError, match="seek"):
        world.drain._take_over(journal)
    behind = world.behind()
    world.drain.adopt(world.root, **SIZES)
    world.deliver_everything()

    assert behind == {}
    assert (world.stored("logs"), world.stored("audit")) == ([0], [1])
    os.close(reading)
    os.close(writing)


def test_a_disk_that_lets_a_journal_not_be_opened_costs_no_descriptors(world: World) -> None:
    journal = Journal.adopt(orphan(world.root, "logs"), **SIZES)
    os.pwrite(journal._segments[0].fd, b"FBJ9", 0)  # so that it needs a new segment
    journal.close()
    descriptors = len(os.listdir("/proc/self/fd"))

    with full_disk():
        world.drain.adopt(world.root, **SIZES)

    assert world.drain.adopted == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
    world.drain.adopt(world.root, **SIZES)
    assert len(world.drain.adopted) == 1


def test_a_directory_in_which_nothing_is_left_is_removed_and_not_adopted(world: World) -> None:
    empty, set_aside = world.root / "without-a-segment", world.root / "but-for-a-file-set-aside"
    for directory in (empty, set_aside):
        directory.mkdir()
        (directory / "lock").touch()
    (set_aside / "1.damaged").touch()

    world.drain.adopt(world.root, **SIZES)

    assert world.drain.adopted == []
    assert sorted(world.root.iterdir()) == sorted([world.journal.directory, set_aside])
    assert [path.name for path in set_aside.iterdir()] == ["1.damaged"]


def test_what_was_settled_is_not_read_again_to_line_up_the_rest(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    _, segment, first = journal.append("acme", 1, [("logs", 0, b"k", b"settled", 0)])
    journal.append("acme", 1, [("logs", 0, b"k", b"waits", 0)])
    journal.settle([(segment, first, 1)])
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)
    os.pwrite(adopted._segments[0].fd, b"\xff", adopted._segments[0].places[0] + 10)

    assert pending(adopted) == [b"waits"]
    assert adopted.damaged_frames == 0
    adopted.close()
