"""Files with the same content: a copy of what is sent is held back, another file that says the same is not."""

import os
from pathlib import Path

import pytest

from tests.tail.rotations import pack, rename
from tests.tail.world import World, numbered

RUN = "job began\njob ok\n"
BANNER = "".join(f"banner {number} {'x' * 60}\n" for number in range(30))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def arrived(world: World) -> list[tuple[str, str]]:
    """The name of its file and the text of each event."""
    return [(Path(event["source"]).name, event["message"]) for event in world.sink.events]


def by_line(*files: tuple[str, str]) -> list[tuple[str, str]]:
    return [(name, line) for name, text in files for line in text.splitlines()]


@pytest.mark.parametrize("once", [False, True])
def test_files_in_other_directories_or_with_names_of_their_own_are_no_copies(world: World, once: bool) -> None:
    files = [("monday.log", RUN), ("tuesday.log", RUN), ("wednesday.log", "job began\n"), ("app.log", RUN)]
    world.settings = {"paths": (world.logs / "**" / "*.log",)}
    for (name, text), directory in zip(files, "abba", strict=True):
        (world.logs / directory).mkdir(exist_ok=True)
        world.write(text, world.logs / directory / name)

    tailer = world.tailer(once=once)
    if once:
        tailer.run()
    else:
        world.turn_for(30)

    assert sorted(arrived(world)) == sorted(by_line(*files))


def test_nor_are_files_of_one_name_in_two_directories(world: World) -> None:
    world.settings = {"paths": (world.logs / "*" / "0.log",)}
    for directory in "ab":
        (world.logs / directory).mkdir()
        world.write(BANNER, world.logs / directory / "0.log")

    world.tailer()
    world.turn_for(30)

    assert [event["message"] for event in world.sink.events] == 2 * BANNER.splitlines()


@pytest.mark.parametrize("begin", [RUN, "job began\n"])
def test_a_file_that_is_not_open_any_more_holds_back_no_stranger(world: World, begin: str) -> None:
    world.settings = {"paths": (world.logs / "*.log",)}
    world.write(RUN, world.logs / "monday.log")
    world.run_once()

    world.write(begin, world.logs / "tuesday.log")
    world.settle()

    assert arrived(world) == by_line(("monday.log", RUN), ("tuesday.log", begin))


def test_an_original_and_its_copy_that_are_found_at_once_are_sent_once(world: World) -> None:
    for name in ["app.log.1", "app.log"]:
        world.lines(1, 2, path=world.logs / name)
        os.utime(world.logs / name, (1e9, 1e9))
    world.tailer()
    world.turn_for(5)
    os.truncate(world.log, 0)
    world.turn_for(30)

    assert arrived(world) == by_line(("app.log", "line 1\nline 2\n"))


@pytest.mark.parametrize("name", ["app.log.1", "app.log-20300101", "app-20300101.log", "app.1.log", "app_old.log"])
def test_every_name_that_a_rotation_gives_may_be_a_copy(world: World, name: str) -> None:
    world.settings = {"paths": (world.logs / "app*",)}
    world.lines(1, 2)
    world.tailer()
    world.turn_for(5)
    world.write(world.log.read_bytes(), world.logs / name)
    world.turn_for(30)
    os.truncate(world.log, 0)
    world.lines(3)
    world.turn_for(30)

    assert world.sink.messages == numbered(1, 2, 3)
    assert world.sink.copies == 0
    assert len(world.sink.events) == 3


def test_the_successor_of_a_renamed_file_may_say_just_the_same(world: World) -> None:
    world.tailer()
    for _ in range(3):
        world.write(RUN)
        world.turn_for(30)
        rename(world.log)
        world.turn_for(30)

    assert [event["message"] for event in world.sink.events] == 3 * RUN.splitlines()
    assert world.sink.copies == 0


def test_and_all_of_them_when_they_are_found_at_once(world: World) -> None:
    for age_s, name in enumerate(["app.log", "app.log.1", "app.log.2", "app.log.10"]):
        world.write(RUN, world.logs / name)
        os.utime(world.logs / name, (1e9 - age_s, 1e9 - age_s))

    world.settle()

    assert arrived(world) == by_line(*((name, RUN) for name in ["app.log.10", "app.log.2", "app.log.1", "app.log"]))


def test_also_after_the_oldest_was_deleted_and_the_tailer_was_down(world: World) -> None:
    world.write(RUN)
    world.run_once()
    rotated = rename(world.log)
    world.run_once()
    rotated.unlink()
    world.run_once()

    world.write(RUN)
    world.settle()

    assert [event["message"] for event in world.sink.events] == 2 * RUN.splitlines()


def test_a_small_file_that_is_gone_takes_no_stranger_with_it(world: World) -> None:
    world.settings = {"paths": (world.logs / "*" / "job.log",)}
    for directory in "ab":
        path = world.logs / directory / "job.log"
        path.parent.mkdir()
        world.write(RUN, path)
        world.run_once()
        path.unlink()
        world.run_once()

    assert [event["message"] for event in world.sink.events] == 2 * RUN.splitlines()


@pytest.mark.parametrize("name", ["app.2030-01-02.log", "other.log", "b/app.2030-01-01.log"])
def test_a_long_file_that_is_gone_takes_none_with_it_that_only_begins_like_it(world: World, name: str) -> None:
    world.settings = {"paths": (world.logs / "**" / "*.log",)}
    first, second = world.logs / "app.2030-01-01.log", world.logs / name
    second.parent.mkdir(exist_ok=True)
    world.tailer()
    for text in (BANNER, *(f"line {number}\n" for number in range(50))):
        world.write(text, first)
        world.turn_for(1)
    first.unlink()
    world.turn_for(60)
    count = len(world.sink.events)

    world.write(BANNER, second)
    world.turn_for(5)

    assert [event["message"] for event in world.sink.events[count:]] == BANNER.splitlines()


def test_a_larger_one_is_known_again_wherever_it_is_packed_to(world: World) -> None:
    world.settings = {"paths": (world.log, world.logs / "old" / "*")}
    world.write(BANNER)
    world.run_once()
    packed = pack(rename(world.log))
    (world.logs / "old").mkdir()
    (world.logs / "old" / packed.name).write_bytes(packed.read_bytes())
    packed.unlink()
    world.settle()

    assert [event["message"] for event in world.sink.events] == BANNER.splitlines()
