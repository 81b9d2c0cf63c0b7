"""A worker follows the snapshot file forward, never back, and never lets go of a good one for a bad one."""

from pathlib import Path

import pytest

from ingest.dataplane.policy import dump
from ingest.dataplane.snapshot_file import SnapshotFile
from tests.unit.dataplane.world import header


def put(path: Path, version: int, built_wall_ms: int = 1) -> None:
    """As the builder does: whole, by a rename."""
    write(path, dump(header(version, [], [], built_wall_ms=built_wall_ms), [], []))


def write(path: Path, blob: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(blob)
    partial.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot.msgpack"


def versions(file: SnapshotFile) -> int | None:
    found = file.changed()
    return None if found is None else found.header.version


def test_a_file_that_is_not_there_yet_is_no_error(path: Path) -> None:
    file = SnapshotFile(path)

    first = file.changed()
    put(path, 1)

    assert first is None
    assert versions(file) == 1


def test_a_snapshot_is_returned_once(path: Path) -> None:
    file = SnapshotFile(path)
    put(path, 1)

    assert [versions(file), versions(file)] == [1, None]


def test_a_newer_snapshot_is_taken_in(path: Path) -> None:
    file = SnapshotFile(path)
    put(path, 1)
    file.changed()

    put(path, 2)
    by_version = versions(file)
    put(path, 2, built_wall_ms=2)

    assert by_version == 2
    assert versions(file) == 2


@pytest.mark.parametrize(("version", "built_wall_ms"), [(4, 100), (5, 9), (5, 10)])
def test_it_never_goes_back(path: Path, version: int, built_wall_ms: int) -> None:
    file = SnapshotFile(path)
    put(path, 5, built_wall_ms=10)
    file.changed()

    put(path, version, built_wall_ms)

    assert file.changed() is None


@pytest.mark.parametrize("blob", [b"", b"garbage", b"\xff" * 100])
def test_a_damaged_file_leaves_the_last_snapshot_and_says_so(
    path: Path, blob: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = SnapshotFile(path)
    put(path, 1)
    file.changed()

    write(path, blob)
    taken = [file.changed(), file.changed()]
    put(path, 2)

    assert taken == [None, None]
    assert caplog.text.count("not taken in") == 1
    assert versions(file) == 2


def test_a_file_cut_short_is_not_taken_in(path: Path) -> None:
    file = SnapshotFile(path)
    put(path, 1)
    whole = path.read_bytes()

    write(path, whole[:-1])

    assert file.changed() is None


def test_a_file_that_vanishes_leaves_the_last_snapshot(path: Path) -> None:
    file = SnapshotFile(path)
    put(path, 1)
    file.changed()

    path.unlink()

    assert file.changed() is None
    put(path, 2)
    assert versions(file) == 2
