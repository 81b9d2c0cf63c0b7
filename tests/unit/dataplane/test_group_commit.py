"""fsync=always: nobody is answered before the disk has it, and those who wait share one fsync."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.dataplane.disk import SyncFailed
from ingest.dataplane.errors import Unavailable
from ingest.dataplane.group_commit import GroupCommit
from ingest.dataplane.journal import Journal
from ingest.dataplane.segments import Segment
from tests.unit.dataplane.journal_world import SIZES, pending, reopened
from tests.unit.dataplane.world import records


class Disk:
    """Counts what is written; a sync takes until the test lets it end."""

    def __init__(self) -> None:
        self.written = 0
        self.syncs = 0
        self.fails = False
        self.begun, self.may_end = threading.Event(), threading.Event()

    def sync(self) -> int:
        written = self.written
        self.syncs += 1
        self.begun.set()
        assert self.may_end.wait(20)
        if self.fails:
            failed = SyncFailed(5, "Input/output error")
            failed.written = self.written
            raise failed
        return written


def waiting(commit: GroupCommit, written: int, told: list[str]) -> threading.Thread:
    def wait() -> None:
        try:
            commit.wait(written)
            told.append("synced")
        except Unavailable as error:
            told.append(error.code)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_all_that_come_during_a_sync_share_the_next_one() -> None:
    disk, told = Disk(), list[str]()
    commit = GroupCommit(disk.sync)
    disk.written = 1
    threads = [waiting(commit, 1, told)]
    assert disk.begun.wait(20)

    disk.written = 9
    threads += [waiting(commit, number, told) for number in range(2, 10)]
    during = list(told)
    disk.may_end.set()
    for thread in threads:
        thread.join(20)

    assert during == []
    assert told == ["synced"] * 9
    assert disk.syncs == 2


def test_what_is_on_the_disk_already_is_not_waited_for() -> None:
    disk = Disk()
    disk.written = 5
    disk.may_end.set()
    commit = GroupCommit(disk.sync)

    commit.wait(5)
    commit.wait(3)

    assert disk.syncs == 1


def refusal(commit: GroupCommit, written: int) -> str:
    with pytest.raises(Unavailable) as refused:
        commit.wait(written)
    return refused.value.code


def test_what_a_sync_that_failed_should_have_brought_is_never_taken_for_synced() -> None:
    disk = Disk()
    disk.fails = True
    disk.written = 3
    disk.may_end.set()
    commit = GroupCommit(disk.sync)

    told = [refusal(commit, 2)]
    disk.fails = False
    disk.written = 4
    commit.wait(4)
    told += [refusal(commit, number) for number in (1, 3)]

    assert told == ["journal_unwritable"] * 3
    assert disk.syncs == 2


def test_everybody_who_waits_for_a_disk_that_fails_is_told_at_once() -> None:
    disk, told = Disk(), list[str]()
    disk.fails = True
    disk.written = 8
    commit = GroupCommit(disk.sync)
    threads = [waiting(commit, number, told) for number in range(1, 9)]
    assert disk.begun.wait(20)

    disk.may_end.set()
    for thread in threads:
        thread.join(20)

    assert told == ["journal_unwritable"] * 8
    assert disk.syncs == 1


def test_a_sync_that_could_not_be_tried_is_tried_by_the_next() -> None:
    refusals = [OSError(24, "Too many open files")]

    def sync() -> int:
        if refusals:
            raise refusals.pop()
        return 1

    commit = GroupCommit(sync)

    told = refusal(commit, 1)
    commit.wait(1)

    assert told == "journal_unwritable"


def test_what_is_written_after_a_sync_began_is_not_taken_for_synced() -> None:
    disk, told = Disk(), list[str]()
    commit = GroupCommit(disk.sync)
    disk.written = 1
    first = waiting(commit, 1, told)
    assert disk.begun.wait(20)

    disk.written = 2
    disk.may_end.set()
    first.join(20)
    disk.may_end.clear()
    disk.begun.clear()
    second = waiting(commit, 2, told)
    has_begun = disk.begun.wait(20)

    assert (has_begun, told) == (True, ["synced"])
    disk.may_end.set()
    second.join(20)
    assert told == ["synced"] * 2


class GoesAway(threading.Thread):
    """Settles requests in the journal, so that segments go, for as long as somebody syncs it."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal, self.is_over = journal, threading.Event()
        self.at = 0  # which of the segments it has come to

    def run(self) -> None:
        while not self.is_over.is_set():
            _, segment, sequence = self.journal.append("acme", 1, [("logs", 0, b"k", bytes(1_500), 0)])
            self.journal.settle([(segment, sequence, 1)])
            self.at = segment.ordinal


def test_segments_may_go_while_they_are_brought_to_the_disk(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    first = journal.append("acme", 1, records(1))[1].path
    settling = GoesAway(journal)
    settling.start()

    synced = [0]
    while settling.is_alive() and settling.at < 20:
        synced.append(journal.sync())
    settling.is_over.set()
    settling.join(20)

    assert settling.at >= 20
    assert synced == sorted(synced)
    assert first.exists()
    assert journal.sync() == journal.written
    journal.close()


def test_a_journal_says_how_much_of_it_the_disk_has(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    journal.append("acme", 1, records(1))
    _, segment, sequence = journal.append("acme", 1, records(1))

    first = journal.sync()
    journal.settle([(segment, sequence, 1)])

    assert (first, journal.sync(), journal.written) == (2, 3, 3)
    journal.close()


def break_disk(segment: Segment) -> Callable[[], None]:
    """A pipe cannot be synced. What is returned gives the file back."""
    file, (reading, writing) = os.dup(segment.fd), os.pipe()
    os.dup2(writing, segment.fd)

    def mend() -> None:
        os.dup2(file, segment.fd)
        for fd in (file, reading, writing):
            os.close(fd)

    return mend


def test_behind_a_sync_that_failed_the_journal_goes_on_in_another_segment(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    _, first, sequence = journal.append("acme", 1, records(1))
    mend = break_disk(first)
    descriptors = len(os.listdir("/proc/self/fd"))

    with pytest.raises(SyncFailed) as failed:
        journal.sync()
    mend()
    _, second, _ = journal.append("acme", 1, records(1, start=1))
    journal.settle([(first, sequence, 1)])
    synced = journal.sync()

    assert (failed.value.written, synced, journal.written) == (1, 3, 3)
    assert (second is first, first.is_unsynced) == (False, False)
    assert len(os.listdir("/proc/self/fd")) == descriptors - 3
    adopted = reopened(journal)
    assert pending(adopted) == [b"value-1"]
    adopted.close()


def test_a_settle_is_not_written_behind_a_sync_that_failed_either(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    _, first, sequence = journal.append("acme", 1, records(2))
    mend = break_disk(first)
    with pytest.raises(SyncFailed):
        journal.sync()
    mend()

    journal.settle([(first, sequence, 1)])
    journal.sync()

    assert first.settled_in == {journal._segments[-1].ordinal} != {first.ordinal}
    adopted = reopened(journal)
    assert pending(adopted) == [b"value-1"]
    adopted.close()


def test_a_settle_does_not_pass_for_the_accept_before_it(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    _, segment, sequence = journal.append("acme", 1, records(1))

    journal.settle([(segment, sequence, 1)])

    assert (journal.appended, journal.written) == (1, 2)
    journal.close()
