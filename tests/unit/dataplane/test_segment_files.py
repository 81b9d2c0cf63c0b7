"""Segments are begun and removed whatever the disk says: one that fails keeps no other from its end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal import Journal
from tests.unit.dataplane.drain_world import World
from tests.unit.dataplane.journal_world import SIZES, fill, keep_ledger, pending, totals
from tests.unit.dataplane.world import records


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.create(tmp_path, **SIZES)
    yield made
    made.close()


def make_unremovable(path: Path) -> Path:
    """A directory in its place cannot be unlinked. Returns the file under another name."""
    path.rename(path.with_suffix(".moved"))
    path.mkdir()
    return path.with_suffix(".moved")


def test_a_settled_file_that_somebody_has_removed_is_missed_by_nobody(journal: Journal) -> None:
    appended = fill(journal)
    appended[0][0].path.unlink()

    for place in appended:
        journal.settle([place])

    assert (journal.unsettled, totals(journal).delivered) == (0, len(appended))
    assert len(journal._segments) == 1


def test_a_settled_file_that_cannot_be_removed_is_emptied_and_keeps_no_other(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    appended = fill(journal)
    left = make_unremovable(appended[0][0].path)

    journal.settle(appended)

    assert f"{appended[0][0].path} is settled and cannot be removed" in caplog.text
    assert left.stat().st_size == 0
    assert len(journal._segments) == 1
    assert appended[0][0].fd == -1


def test_an_empty_file_brings_nothing_back(journal: Journal) -> None:
    appended = fill(journal)
    journal.settle(appended)
    appended[0][0].path.touch()
    said = totals(journal)

    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert (pending(adopted), totals(adopted), adopted.damaged_frames) == ([], said, 0)
    adopted.close()


def test_a_damaged_file_that_cannot_be_set_aside_is_kept_as_it_is(journal: Journal) -> None:
    appended = fill(journal)
    segment = appended[0][0]
    segment.is_damaged = True
    left = make_unremovable(segment.path)
    segment.path.with_suffix(".damaged").touch()  # where no directory can be moved to
    size_bytes = left.stat().st_size

    journal.settle(appended)

    assert left.stat().st_size == size_bytes > 0
    assert len(journal._segments) == 1


def test_what_kafka_takes_is_settled_though_a_file_could_not_be_removed(tmp_path: Path) -> None:
    world = World(tmp_path)
    big = [world.journal.append("acme", 1, [("logs", 0, b"k", bytes(40_000), 0)]) for _ in range(3)]
    make_unremovable(big[0][1].path)
    world.journal.settle([(segment, sequence, 1) for _, segment, sequence in big])

    world.send("logs")
    world.kafka.acknowledge_all()
    world.settlements.settle_all()

    assert world.journal.unsettled == 0
    world.close()


def test_a_directory_that_cannot_be_removed_is_let_go_all_the_same(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(1))
    journal.settle([(segment, sequence, 1)])
    keep_ledger(journal)
    lock = journal.directory / "lock"
    lock.unlink()
    lock.mkdir()
    descriptors = len(os.listdir("/proc/self/fd"))

    journal.close()

    assert descriptors - len(os.listdir("/proc/self/fd")) == 2


def test_what_a_failure_has_left_under_a_name_is_in_nobodys_way(journal: Journal) -> None:
    (journal.directory / f"{0:020d}-{1:08d}.segment").touch()
    larger = [("logs", 0, b"k", bytes(5_000), 0)]

    with pytest.raises(Unavailable) as refused:
        journal.append("acme", 1, larger)
    journal.append("acme", 1, larger)

    assert refused.value.code == "journal_unwritable"
    assert [segment.ordinal for segment in journal._segments] == [2]
