"""Files that are renamed, copied, truncated, packed and deleted under the tailer: each line once, under one id."""

import gzip
import os
import shutil
from pathlib import Path

import pytest

from forebay_client.wire import Outcome
from tests.tail.rotations import copytruncate, pack, rename
from tests.tail.world import World, numbered


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_growing_file_is_followed(world: World) -> None:
    world.tailer()
    for number in range(3):
        world.lines(number)
        world.turn_for(1)

    assert world.sink.messages == numbered(0, 1, 2)
    assert world.sink.copies == 0


def test_an_event_says_where_its_line_is(world: World) -> None:
    world.lines(1, 2)
    world.settle()

    first, second = world.sink.events
    assert first["source"] == str(world.log)
    assert first["hostname"] == "web-1"
    assert first["metadata"] == {"path": str(world.log), "host": "web-1", "offset": 0}
    assert second["metadata"]["offset"] == len("line 1\n")
    assert second["eventId"].startswith(first["eventId"][:24])


def test_what_is_written_to_a_renamed_file_and_to_its_successor_arrives(world: World) -> None:
    world.lines(1)
    world.tailer(close_after_s=5)
    world.turn_for(1)

    rotated = rename(world.log)
    world.lines(2, path=rotated)
    world.lines(3)
    world.turn_for(5)
    world.lines(4, path=rotated)
    world.turn_for(30)
    world.lines(5, path=rotated)  # after it was closed
    world.turn_for(5)

    assert world.sink.messages == numbered(1, 2, 3, 4, 5)
    assert world.sink.copies == 0


def test_lines_of_a_rotated_file_go_before_those_of_its_successor(world: World) -> None:
    world.tailer(batch_events=10)
    world.lines(*range(100))
    world.turn_for(1)
    world.lines(*range(100, 200))
    rename(world.log)
    world.lines(*range(200, 300))

    world.turn_for(10)

    assert world.sink.messages == numbered(*range(300))


@pytest.mark.parametrize("is_in_glob", [True, False], ids=["its new name is in a glob", "its new name is in none"])
def test_a_file_that_was_renamed_while_nobody_read_is_read_on(world: World, is_in_glob: bool) -> None:
    if not is_in_glob:
        world.settings = {"paths": (world.log,)}
    world.lines(1)
    world.run_once()

    world.lines(2)
    rename(world.log)
    world.lines(3)

    assert sorted(world.settle()) == numbered(1, 2, 3)
    assert world.sink.copies == 0


def test_a_copied_and_truncated_file_is_not_sent_twice(world: World) -> None:
    world.tailer()
    world.lines(1, 2)
    world.turn_for(5)
    copytruncate(world.log)
    world.turn_for(5)
    world.lines(3)
    world.turn_for(60)

    assert world.sink.messages == numbered(1, 2, 3)
    assert len(world.sink.ids_of("line 1")) == 1


def test_what_was_not_read_before_the_truncation_is_read_in_the_copy(world: World) -> None:
    world.lines(1, 2)
    world.run_once()

    world.lines(3)
    copytruncate(world.log)
    world.lines(4)

    assert sorted(world.settle()) == numbered(1, 2, 3, 4)
    assert all(len(world.sink.ids_of(line)) == 1 for line in numbered(1, 2, 3, 4))


@pytest.mark.parametrize("reads", [3, 16, 100])
def test_a_copy_that_was_made_many_reads_before_the_truncation_is_known_all_the_same(world: World, reads: int) -> None:
    tailer = world.tailer()
    world.lines(*range(2000))
    world.turn_for(5)
    copied = world.log.read_bytes()
    for number in range(2000, 2000 + reads):  # written, and read, while the copy is being made
        world.lines(number)
        assert tailer.turn()
    (world.logs / "app.log.1").write_bytes(copied)
    os.truncate(world.log, 0)
    world.lines(2000 + reads)
    world.turn_for(60)

    assert world.sink.messages == numbered(*range(2001 + reads))
    assert len(world.sink.events) == 2001 + reads


def test_even_when_the_copy_is_in_no_glob_and_packed(world: World) -> None:
    world.settings = {"paths": (world.log,)}
    world.lines(1, 2)
    world.run_once()

    world.lines(3)
    pack(copytruncate(world.log))
    world.lines(4)

    assert sorted(world.settle()) == numbered(1, 2, 3, 4)


def test_a_copy_that_is_being_made_waits_until_it_is_known_what_it_is(world: World) -> None:
    world.tailer()
    world.lines(*range(2000))
    world.turn_for(5)
    copy = world.logs / "app.log.1"
    content = world.log.read_bytes()
    for size in (0, 10, 5000, len(content)):
        copy.write_bytes(content[:size])
        world.turn_for(5)
    os.truncate(world.log, 0)
    world.lines(2000)
    world.turn_for(60)

    assert world.sink.messages == numbered(*range(2001))
    assert world.sink.copies == 0


def test_a_copy_that_stays_beside_its_original_is_named_and_not_sent(world: World) -> None:
    world.lines(1, 2)
    world.tailer()
    world.turn_for(5)
    shutil.copyfile(world.log, world.logs / "app.log.bak")
    world.turn_for(30)

    assert world.sink.messages == numbered(1, 2)
    assert any("app.log.bak: a copy of" in line for line in world.said)


def test_it_is_read_once_it_goes_its_own_way(world: World) -> None:
    world.lines(1, 2)
    world.tailer()
    world.turn_for(5)
    shutil.copyfile(world.log, world.logs / "app.log.bak")
    world.lines(3, path=world.logs / "app.log.bak")
    world.lines(4)
    world.turn_for(30)

    assert {"line 3", "line 4"} <= set(world.sink.messages)


def test_a_file_that_is_deleted_while_it_is_read_is_read_to_its_end(world: World) -> None:
    world.tailer(batch_events=10)
    with world.log.open("ab", buffering=0) as writer:
        writer.write(b"".join(b"line %d\n" % number for number in range(50)))
        world.turn_for(0.25)
        world.log.unlink()
        writer.write(b"line 50\n")
        world.turn_for(60)

    assert world.sink.messages == numbered(*range(51))
    assert not world._tailer or not world._tailer.discovery.readers


def test_a_file_that_comes_and_goes_during_an_outage_is_not_lost(world: World) -> None:
    world.lines(1)
    tailer = world.tailer()
    world.turn_for(1)
    away = Outcome(503, "journal_full", retry_after_s=1.0)
    world.sink.answers = [away] * 60

    def rotate_away() -> None:
        if world.clock.seconds > 20 and not (world.logs / "gone").exists():
            (world.logs / "gone").touch()
            world.log.unlink()

    world.lines(2)
    world.clock.on_sleep = rotate_away
    tailer.turn()
    world.turn_for(30)

    assert world.sink.messages == numbered(1, 2)


def test_a_packed_file_that_was_not_finished_is_read_on(world: World) -> None:
    world.lines(*range(1000))
    tailer = world.tailer(batch_events=100)
    tailer.turn()
    tailer.turn()
    world.kill()

    pack(rename(world.log))
    world.lines(1000)

    assert sorted(world.settle()) == sorted(numbered(*range(1001)))
    assert all(len(world.sink.ids_of(line)) == 1 for line in numbered(0, 500, 999))


def test_a_packed_file_that_was_finished_is_not_sent_again(world: World) -> None:
    world.tailer()
    world.lines(*range(100))
    world.turn_for(5)
    rotated = rename(world.log)
    world.lines(100)
    world.turn_for(30)
    pack(rotated)
    world.turn_for(30)
    world.settle()

    assert world.sink.messages == numbered(*range(101))
    assert world.sink.copies == 0


def test_a_packed_file_that_is_new_is_read_whole_and_once(world: World) -> None:
    with gzip.open(world.logs / "app.log.1.gz", "wb") as packed:
        packed.write(b"line 1\nline 2\nno end")

    world.settle()
    world.settle()

    assert world.sink.messages == [*numbered(1, 2), "no end"]
    assert world.sink.copies == 0


def test_a_damaged_packed_file_is_read_as_far_as_it_goes_and_said(world: World) -> None:
    content = gzip.compress(b"".join(b"line %d\n" % number for number in range(20_000)))
    spoilt = bytearray(content)
    spoilt[-2000:-1900] = b"\xff" * 100
    (world.logs / "app.log.1.gz").write_bytes(spoilt)

    sent = world.settle()

    assert sent[:1000] == numbered(*range(1000))
    assert any("damaged after" in line for line in world.said)


def test_a_reused_inode_is_another_file(world: World) -> None:
    world.lines(1, 2)
    world.run_once()

    inode = world.log.stat().st_ino
    content = b"line 7\nline 8\nline 9\n"
    with world.log.open("r+b") as file:  # the same inode with other content, as after a deletion
        file.truncate(0)
        file.write(content)
    assert world.log.stat().st_ino == inode

    assert world.settle() == numbered(1, 2, 7, 8, 9)


def test_a_line_without_an_end_is_sent_when_its_file_is_over(world: World) -> None:
    world.write("line 1\nline 2")
    world.tailer(close_after_s=5)
    world.turn_for(30)
    assert world.sink.messages == numbered(1)

    rename(world.log)
    world.turn_for(30)

    assert world.sink.messages == numbered(1, 2)


def test_what_is_written_after_such_an_end_is_an_event_of_its_own_even_after_a_crash(world: World) -> None:
    world.write("line 1\nline")
    world.tailer(close_after_s=5, checkpoint_s=1000)
    world.turn_for(1)
    rotated = rename(world.log)
    world.turn_for(30)
    world.kill()
    world.write(" 2\nline 3\n", rotated)
    world.settle()

    assert world.sink.messages == ["line 1", "line", " 2", "line 3"]
    assert all(len(world.sink.ids_of(text)) == 1 for text in ("line", " 2", "line 3"))


def test_a_first_start_may_skip_what_is_there_and_later_starts_do_not(world: World) -> None:
    world.lines(1)
    world.tailer(start_at_end=True)
    world.turn_for(5)
    world.lines(2)
    world.turn_for(5)
    world.kill()
    world.lines(3)
    world.tailer(start_at_end=True)
    world.turn_for(5)

    assert world.sink.messages == numbered(2, 3)


def test_more_files_than_may_be_open_are_all_read(world: World) -> None:
    names = [world.logs / f"app.log.{number}" for number in range(20)]
    for number, path in enumerate(names):
        world.lines(number, path=path)

    world.tailer(max_open_files=3)
    world.turn_for(60)
    for number, path in enumerate(names):
        world.lines(number + 20, path=path)
    world.turn_for(60)

    assert sorted(world.sink.messages) == sorted(numbered(*range(40)))
    assert world.sink.copies == 0


def test_a_hundred_files_get_their_turn_beside_a_large_one(world: World) -> None:
    world.lines(*range(20_000), path=world.logs / "app.log.big")
    for number in range(100):
        world.write(f"small {number}\n", world.logs / f"app.log.{number}")
    tailer = world.tailer(batch_events=500)

    for _ in range(3):
        tailer.turn()

    assert {f"small {number}" for number in range(100)} <= set(world.sink.messages)
