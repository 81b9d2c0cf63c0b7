"""Files that cannot be read for a while, on a disk with a bad block or on a network: the others are read meanwhile."""

import errno
import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tail.rotations import copytruncate, pack, rename
from tests.tail.world import World, numbered

CACHED_BYTES = 2


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Disk:
    """Of some files nothing can be had by their descriptors, as of a file that a server has forgotten (ESTALE); or no
    more than their first bytes, as on a disk with a bad block (EIO)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self._code, self._bad = code, set[int]()
        self.failures = 0
        self._fstat = os.fstat
        monkeypatch.setattr(os, "pread", self._failing(os.pread))
        if code == errno.ESTALE:
            monkeypatch.setattr(os, "fstat", self._failing(os.fstat))

    def fail(self, path: Path) -> None:
        self._bad.add(path.stat().st_ino)

    def mend(self) -> None:
        self._bad.clear()

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def ask(descriptor: int, *arguments: int) -> Any:
            is_cached = self._code == errno.EIO and arguments[0] <= CACHED_BYTES
            if self._fstat(descriptor).st_ino in self._bad and not is_cached:
                self.failures += 1
                raise OSError(self._code, os.strerror(self._code))
            return call(descriptor, *arguments)

        return ask


@pytest.fixture(params=[errno.EIO, errno.ESTALE], ids=["EIO", "ESTALE"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch, request.param)


def assert_all_arrived_once(world: World, disk: Disk, *numbers: int) -> None:
    print(f"{disk.failures} calls failed; {len(world.sink.events)} events accepted; {world.said}")
    assert disk.failures
    assert sorted(world.sink.messages) == sorted(numbered(*numbers))
    assert len(world.sink.events) == len(numbers)


def test_one_that_is_being_read_holds_up_no_other(world: World, disk: Disk) -> None:
    bad, good = world.log, world.logs / "app.log.good"
    world.lines(0, 1, path=bad)
    world.lines(10, path=good)
    world.tailer()
    world.turn_for(1)

    disk.fail(bad)
    world.lines(2, path=bad)
    world.lines(11, path=good)
    world.turn_for(10)
    assert "line 11" in world.sink.messages
    assert sum(f"{bad}: cannot be read" in line for line in world.said) == 1

    disk.mend()
    world.turn_for(10)
    assert_all_arrived_once(world, disk, 0, 1, 2, 10, 11)


def test_one_that_is_new_holds_up_no_other(world: World, disk: Disk) -> None:
    bad, good = world.log, world.logs / "app.log.good"
    world.lines(0, path=bad)
    world.lines(10, path=good)
    disk.fail(bad)
    world.tailer()

    world.turn_for(10)
    assert world.sink.messages == numbered(10)

    disk.mend()
    world.turn_for(10)
    assert_all_arrived_once(world, disk, 0, 10)


def test_one_that_fails_once_it_is_open_and_not_yet_told_holds_up_no_other(world: World, disk: Disk) -> None:
    bad, good = world.log, world.logs / "app.log.good"
    world.write("li", bad)
    world.tailer()
    world.turn_for(1)

    disk.fail(bad)
    world.write("ne 0\n", bad)
    world.lines(10, path=good)
    world.turn_for(10)
    assert world.sink.messages == numbered(10)

    disk.mend()
    world.turn_for(10)
    assert_all_arrived_once(world, disk, 0, 10)


def test_nor_does_one_that_was_known_before_the_start(world: World, disk: Disk) -> None:
    bad, good = world.log, world.logs / "app.log.good"
    world.lines(0, path=bad)
    world.lines(10, path=good)
    world.run_once()

    world.lines(1, path=bad)
    world.lines(11, path=good)
    disk.fail(bad)
    world.tailer()
    world.turn_for(10)
    assert sorted(world.sink.messages) == numbered(0, 10, 11)

    disk.mend()
    world.turn_for(10)
    assert_all_arrived_once(world, disk, 0, 1, 10, 11)


def test_a_copy_of_one_waits_and_no_other_does(world: World, disk: Disk) -> None:
    world.settings = {"paths": (world.logs / "*",)}
    world.lines(0, 1)
    world.tailer()
    world.turn_for(1)

    disk.fail(world.log)
    shutil.copyfile(world.log, world.logs / "app.log.1")
    world.lines(10, path=world.logs / "other.log")
    world.turn_for(10)
    assert world.sink.messages == numbered(0, 1, 10)

    disk.mend()
    world.turn_for(10)
    assert_all_arrived_once(world, disk, 0, 1, 10)


def test_a_renamed_one_that_is_gone_from_the_server_ends_and_its_successor_is_read(world: World, disk: Disk) -> None:
    world.lines(0)
    world.tailer()
    world.turn_for(1)

    rotated = rename(world.log)
    disk.fail(rotated)
    world.lines(10)
    world.turn_for(60)
    assert world.sink.messages == numbered(0, 10)

    disk.mend()
    world.lines(1, path=rotated)
    world.turn_for(10)
    assert_all_arrived_once(world, disk, 0, 1, 10)


def test_the_successor_of_one_whose_end_cannot_be_read_does_not_wait_for_it(world: World, disk: Disk) -> None:
    world.lines(0)
    world.tailer(batch_events=1).turn()  # not yet at the end

    rotated = rename(world.log)
    world.lines(1, path=rotated)
    disk.fail(rotated)
    world.lines(10)
    world.turn_for(60)
    assert world.sink.messages == numbered(0, 10)

    disk.mend()
    world.turn_for(10)
    assert_all_arrived_once(world, disk, 0, 1, 10)


def test_a_packed_one_goes_on_where_it_stopped(world: World, disk: Disk) -> None:
    packed, good = world.logs / "app.log.1.gz", world.logs / "app.log.good"
    content = gzip.compress("".join(f"line {number}\n" for number in range(2000)).encode())
    packed.write_bytes(content[:-100])
    world.tailer()
    world.turn_for(1)

    disk.fail(packed)
    packed.write_bytes(content)
    world.lines(2000, path=good)
    world.turn_for(10)
    assert "line 2000" in world.sink.messages

    disk.mend()
    world.turn_for(10)
    assert_all_arrived_once(world, disk, *range(2001))


def test_whichever_single_read_fails_nothing_is_lost_or_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread, failing, reads = os.pread, 0, 0

    def fail_one(*arguments: int) -> bytes:
        nonlocal reads
        reads += 1
        if reads == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(*arguments)

    monkeypatch.setattr(os, "pread", fail_one)
    while failing <= reads:  # until a run has fewer reads than that
        failing, reads = failing + 1, 0
        world = World(tmp_path / str(failing), close_after_s=1, rescan_s=0.5)
        world.lines(0)
        world.run_once()
        world.lines(1)
        copytruncate(world.log)
        world.lines(2)
        world.tailer()
        world.turn_for(2)
        world.lines(3)
        pack(copytruncate(world.log))
        world.turn_for(2)
        world.lines(4)
        world.tailer()
        world.turn_for(2)

        assert sorted(world.sink.messages) == numbered(*range(5)), failing
        assert len(world.sink.events) == 5, failing
        world.kill()
    print(f"each of {reads} reads failed once")
    assert reads > 20
