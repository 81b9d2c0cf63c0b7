"""Files that are truncated under the tailer and begun anew: every line of the new one, under ids of its own."""

import os
from pathlib import Path

import pytest

from forebay_client.tail.reader import CHUNK_BYTES
from tests.tail.world import World, numbered


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_truncated_file_that_has_already_grown_beyond_is_a_new_one(world: World) -> None:
    world.lines(1, 2)
    world.tailer()
    world.turn_for(5)
    os.truncate(world.log, 0)
    world.lines(3, 4, 5, 6)
    world.turn_for(5)

    assert world.sink.messages == numbered(1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("before", ["", "x" * 5000 + "\n"])
def test_even_if_that_happens_between_two_calls_of_one_read(
    world: World, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    world.write(before)
    world.lines(1, 2)
    world.tailer()
    world.turn_for(5)
    read_bytes, pread = world.log.stat().st_size, os.pread
    world.lines(3)

    def truncate_before_it(descriptor: int, size: int, offset: int) -> bytes:
        if (size, offset) == (CHUNK_BYTES, read_bytes):
            monkeypatch.undo()
            os.truncate(world.log, 0)
            world.lines(*range(1000, 2000))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", truncate_before_it)
    world.turn_for(30)

    assert [message for message in world.sink.messages if len(message) < 5000] == numbered(1, 2, *range(1000, 2000))
    assert world.sink.copies == 0


def test_a_truncated_file_that_begins_with_the_same_line_has_ids_of_its_own(world: World) -> None:
    header = "time level message\n"
    world.write(f"{header}one\n")
    world.tailer()
    world.turn_for(5)
    os.truncate(world.log, 0)
    world.turn_for(5)
    world.write(f"{header}two\n")
    world.turn_for(5)

    assert [event["message"] for event in world.sink.events] == [header.strip(), "one", header.strip(), "two"]
    assert world.sink.copies == 0


@pytest.mark.parametrize("is_killed", [False, True])
def test_one_that_says_just_the_same_again_is_another_file_too(world: World, is_killed: bool) -> None:
    world.tailer()
    for _ in range(3):
        world.log.write_bytes(b"")
        world.turn_for(5)
        if is_killed:
            world.run_once()
            world.tailer()
        world.write("job began\njob ok\n")
        world.turn_for(5)

    assert [event["message"] for event in world.sink.events] == ["job began", "job ok"] * 3
    assert world.sink.copies == 0


def test_the_hole_before_what_a_writer_goes_on_with_after_a_truncation_is_passed_over(world: World) -> None:
    with world.log.open("wb", buffering=0) as writer:  # without O_APPEND: it keeps its position
        writer.write(b"line 1\nline 2\n")
        world.tailer()
        world.turn_for(5)
        os.truncate(world.log, 0)
        writer.write(b"line 3\n")
        world.turn_for(5)
        writer.write(b"line 4\n")
        world.turn_for(5)

    assert world.sink.messages == numbered(1, 2, 3, 4)
    assert world.sink.events[2]["metadata"]["offset"] == len("line 1\nline 2\n")
