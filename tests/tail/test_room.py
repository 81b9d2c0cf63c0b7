"""Fewer files may be open than there are: what nothing can be done with at present gives way to what can be read."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.tail.world import World, numbered


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, max_open_files=3)


def logs(world: World, count: int) -> list[Path]:
    """Empty files with names that a rotation of app.log gives."""
    paths = [world.logs / f"app.log.{number}" for number in range(count)]
    for path in paths:
        path.touch()
    return paths


def age(*paths: Path) -> None:
    """So that they are found before all others, in this order."""
    for age_s, path in enumerate(reversed(paths)):
        os.utime(path, (1e9 - age_s, 1e9 - age_s))


def follow(world: World, once: bool) -> None:
    """For a minute, or with `once` until it ends by itself."""
    if not once:
        world.tailer()
        world.turn_for(60)
        return
    until_s = world.clock.seconds + 600

    def give_up() -> None:
        assert world.clock.seconds < until_s, "it does not end"

    world.clock.on_sleep = give_up
    world.run_once()
    world.clock.on_sleep = lambda: None


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("text", ["", "half a li"], ids=["empty ones", "ones whose first line has not ended"])
def test_files_of_which_nothing_can_be_told_hold_up_no_other(world: World, text: str, once: bool) -> None:
    held = logs(world, 8)
    for path in held:
        world.write(text, path)
    age(*held)
    world.settings["paths"] = (world.logs / "*",)
    for number in range(5):
        world.lines(number, path=world.logs / f"busy{number}.log")

    follow(world, once)
    whole = [message for message in world.sink.messages if message != text]
    print(f"{len(held)} held, 3 may be open: {world.sink.messages}")
    assert sorted(whole) == numbered(*range(5))

    for number, path in enumerate(held, 5):
        world.write(f"\nline {number}\n", path)
    world.tailer()
    world.turn_for(60)
    assert {*numbered(*range(13)), *text.splitlines()} == set(world.sink.messages)


def test_nor_do_those_that_were_truncated_and_are_empty_since(world: World) -> None:
    paths = logs(world, 8)
    for number, path in enumerate(paths):
        world.lines(number, path=path)
    world.tailer()
    world.turn_for(60)
    for path in paths:
        os.truncate(path, 0)
    world.turn_for(60)

    world.lines(8)
    world.turn_for(60)
    assert sorted(world.sink.messages) == numbered(*range(9))

    for number, path in enumerate(paths, 10):
        world.lines(number, path=path)
    world.turn_for(60)
    assert sorted(world.sink.messages) == sorted(numbered(*range(9), *range(10, 18)))
    assert world.sink.copies == 0


@pytest.mark.parametrize("once", [False, True])
def test_copies_that_are_held_back_hold_up_no_other(world: World, once: bool) -> None:
    copies = logs(world, 8)
    world.lines(0)
    for path in copies:
        world.lines(0, path=path)
    age(world.log, *copies)
    world.settings["paths"] = (world.logs / "*",)
    world.lines(10, path=world.logs / "other.log")

    follow(world, once)

    assert world.sink.messages == numbered(0, 10)
    assert len(world.sink.events) == 2
    assert sum("a copy of" in line for line in world.said) == 8


def test_a_copy_that_gave_way_is_read_under_a_name_that_no_rotation_gives(world: World) -> None:
    copies = logs(world, 8)
    world.lines(0)
    for path in copies:
        world.lines(0, path=path)
    age(world.log, *copies)
    world.settings["paths"] = (world.logs / "*",)
    world.tailer()
    world.turn_for(60)
    assert len(world.sink.events) == 1

    for number, path in enumerate(copies):
        path.rename(world.logs / f"{number}.log")
    world.turn_for(60)

    assert [event["message"] for event in world.sink.events] == numbered(0) * 9
    assert world.sink.copies == 0


@pytest.mark.parametrize("way", ["they grow", "it grows", "it is truncated", "it is deleted"])
def test_copies_that_gave_way_are_read_when_they_or_their_original_go_their_own_way(world: World, way: str) -> None:
    copies = logs(world, 8)
    world.lines(0)
    for number, path in enumerate(copies, 20):
        world.lines(0, path=path)
        if way != "they grow":
            world.lines(number, path=path)
    if way == "they grow":
        world.lines(1)
    age(world.log, *copies)
    world.tailer()
    world.turn_for(60)
    assert not {*numbered(*range(20, 28))} & {*world.sink.messages}

    if way == "they grow":
        for number, path in enumerate(copies, 20):
            world.lines(number, path=path)
    elif way == "it grows":
        world.lines(1)
    elif way == "it is truncated":
        os.truncate(world.log, 0)
    else:
        world.log.unlink()
    world.turn_for(60)

    assert {*numbered(*range(20, 28))} <= {*world.sink.messages}
    assert world.sink.copies == 0


def test_what_gave_way_is_not_opened_again_as_long_as_nothing_has_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, halves = logs(world, 8)[:4], logs(world, 8)[4:]
    world.lines(0)
    for path in copies:
        world.lines(0, path=path)
    for path in halves:
        world.write("half a li", path)
    age(world.log, *copies, *halves)
    world.tailer()
    world.turn_for(60)
    opened = Counter[str]()
    open_file = os.open

    def count(path: str, *arguments: int) -> int:
        opened[Path(path).name] += 1
        return open_file(path, *arguments)

    monkeypatch.setattr(os, "open", count)
    world.turn_for(600)

    print(f"opened in ten minutes: {opened}")
    assert {path.name for path in [*copies, *halves]} & opened.keys() == set()
