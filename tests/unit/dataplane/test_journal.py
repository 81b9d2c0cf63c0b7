"""The journal keeps what was accepted until it is settled, within its bound, for whoever comes after this process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal import Journal, Range
from ingest.dataplane.journal_lock import JournalLocked
from ingest.dataplane.ledger import Account
from ingest.dataplane.segments import HELD, PENDING, Segment
from tests.unit.dataplane.journal_world import (
    CHECKPOINTS_BYTES,
    MAX_BYTES,
    SEGMENT_BYTES,
    SIZES,
    fill,
    full_disk,
    keep_ledger,
    pending,
    pending_sequences,
    reopened,
    settle_pending,
    totals,
)
from tests.unit.dataplane.world import records


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.create(tmp_path, **SIZES)
    yield made
    made.close()


# --- append, settle, mark --------------------------------------------------------------------------------------------
def test_what_is_appended_is_in_flight_and_not_pending(journal: Journal) -> None:
    journal.append("acme", 1, records(3))

    assert (journal.unsettled, journal.pending) == (3, 0)


def test_sequences_go_on_over_requests_and_segments(journal: Journal) -> None:
    sequences = [sequence for _, sequence, _ in fill(journal)]

    assert sequences == list(range(len(sequences)))
    assert len(list(journal.directory.glob("*.segment"))) == 4


def test_marked_records_are_the_backlog_oldest_first(journal: Journal) -> None:
    _, segment, first = journal.append("acme", 1, records(3))
    _, _, second = journal.append("acme", 1, records(2, start=3))

    journal.mark(segment, second, [1], PENDING)
    journal.mark(segment, first, [0, 2], PENDING)

    assert pending(journal) == [b"value-0", b"value-2", b"value-4"]
    assert journal.pending == 3


def test_settling_says_how_many_it_was_that_settled(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(5))

    told = [journal.settle([(segment, sequence + 1, 2)]), journal.settle([(segment, sequence, 5)])]

    assert told == [2, 3]
    assert journal.unsettled == 0


def test_held_records_are_neither_offered_nor_forgotten(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(2))
    journal.mark(segment, sequence, [0, 1], HELD)

    assert (journal.pending, journal.unsettled) == (0, 2)
    assert pending(reopened(journal)) == [b"value-0", b"value-1"]


# --- the bound -------------------------------------------------------------------------------------------------------
def test_a_full_journal_takes_nothing_and_keeps_what_it_has(journal: Journal) -> None:
    appended = fill(journal)

    with pytest.raises(Unavailable) as raised:
        journal.append("acme", 1, [("logs", 0, b"k", bytes(500), 0)])

    assert raised.value.code == "journal_full"
    assert journal.unsettled == len(appended)
    assert sum(path.stat().st_size for path in journal.directory.glob("*.segment")) <= MAX_BYTES


def test_a_full_journal_can_settle_and_then_takes_more(journal: Journal) -> None:
    appended = fill(journal)
    oldest = [place for place in appended if place[0] is appended[0][0]]

    for place in oldest:
        journal.settle([place])

    journal.append("acme", 1, records(1))
    assert journal.unsettled == len(appended) - len(oldest) + 1


def test_a_journal_of_one_segment_goes_on_when_all_is_settled(tmp_path: Path) -> None:
    small = Journal.create(tmp_path, segment_bytes=SEGMENT_BYTES, max_bytes=SEGMENT_BYTES + CHECKPOINTS_BYTES)

    for _ in range(3):
        appended = fill(small)
        small.settle(appended)

    assert len(appended) > 1
    assert small.unsettled == 0
    assert len(list(small.directory.glob("*.segment"))) == 1
    small.close()


def test_a_request_larger_than_a_segment_gets_one_of_its_size_within_the_bound(tmp_path: Path) -> None:
    roomy = Journal.create(tmp_path, segment_bytes=SEGMENT_BYTES, max_bytes=3 * SEGMENT_BYTES)

    roomy.append("acme", 1, [("logs", 0, b"k", bytes(SEGMENT_BYTES - 10_000), 0)])

    with pytest.raises(Unavailable) as raised:
        roomy.append("acme", 1, [("logs", 0, b"k", bytes(SEGMENT_BYTES - 10_000), 0)])
    assert raised.value.code == "journal_full"
    assert sum(path.stat().st_size for path in roomy.directory.glob("*.segment")) <= 3 * SEGMENT_BYTES
    roomy.close()


def test_a_segment_goes_when_it_is_settled_unless_another_needs_its_settles(journal: Journal) -> None:
    appended = fill(journal)
    names = sorted(path.name for path in journal.directory.glob("*.segment"))
    by_segment: dict[str, list[Range]] = {}
    for place in appended:
        by_segment.setdefault(place[0].path.name, []).append(place)

    left: list[list[str]] = []
    for chosen in (by_segment[names[1]], by_segment[names[0]][:1], by_segment[names[2]], by_segment[names[0]][1:]):
        journal.settle(chosen)
        left.append(sorted(path.name for path in journal.directory.glob("*.segment")))

    # All SETTLEs are in the last one, so the middle ones need not wait for the first.
    assert left == [[names[0], *names[2:]]] * 2 + [[names[0], names[3]], names[3:]]


def test_settles_alone_can_fill_segment_after_segment(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(20_000))
    every_other = [(segment, sequence + at, 1) for at in range(1, 20_000, 2)]

    # Half of the records stay, so nothing may be unlinked; each SETTLE is a frame, though nothing new settles.
    while len(list(journal.directory.glob("*.segment"))) < 3:
        journal.settle(every_other)

    assert pending(reopened(journal)) == [f"value-{at}".encode() for at in range(0, 20_000, 2)]


def test_without_room_for_a_settle_it_is_settled_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    _, segment, sequence = journal.append("acme", 1, records(2))
    # As a disk that fails: every write to the segment does.
    read_only = os.open(segment.path, os.O_RDONLY)
    os.dup2(read_only, segment.fd)

    told = journal.settle([(segment, sequence, 2)])

    assert told == 2
    assert journal.unsettled == 0
    assert "a SETTLE was not written" in caplog.text
    os.close(read_only)
    journal.close()


def test_a_disk_that_cannot_be_written_refuses_the_request(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    _, segment, _ = journal.append("acme", 1, records(1))
    read_only = os.open(segment.path, os.O_RDONLY)
    os.dup2(read_only, segment.fd)

    with pytest.raises(Unavailable) as raised:
        journal.append("acme", 1, records(1))

    assert raised.value.code == "journal_unwritable"
    assert journal.unsettled == 1
    os.close(read_only)
    journal.close()


def test_a_disk_without_room_for_a_journal_is_left_as_it_was(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    descriptors = len(os.listdir("/proc/self/fd"))

    with full_disk():
        for _ in range(3):
            with pytest.raises(OSError, match="File too large"):
                Journal.create(root, **SIZES)

    assert list(root.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


# --- who comes after -------------------------------------------------------------------------------------------------
def test_what_was_not_settled_is_pending_for_the_next(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(3))
    journal.append("bolt", 2, records(1, start=3))
    journal.settle([(segment, sequence + 1, 1)])

    adopted = reopened(journal)

    assert pending(adopted) == [b"value-0", b"value-2", b"value-3"]
    assert [(accept.tenant, accept.accepted_wall_ms) for _, accept, _ in adopted.backlog()] == [
        ("acme", 1),
        ("bolt", 2),
    ]


def test_an_adopted_journal_settles_and_goes_away(journal: Journal) -> None:
    journal.append("acme", 1, records(3))
    adopted = reopened(journal)

    settle_pending(adopted)
    keep_ledger(adopted)
    adopted.close()

    assert not journal.directory.exists()


def test_an_adopted_journal_is_adopted_again_when_its_adopter_dies(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(4))
    journal.settle([(segment, sequence, 1)])
    second = reopened(journal)
    (taken,) = second.backlog()
    second.settle([(taken[0], taken[1].sequence + 1, 1)])

    third = reopened(second)

    assert pending(third) == [b"value-2", b"value-3"]
    third.close()


def test_an_adopter_keeps_the_settles_that_an_older_segment_needs(journal: Journal) -> None:
    appended = fill(journal)
    first, names = appended[0][0], sorted(path.name for path in journal.directory.glob("*.segment"))
    journal.settle(appended[:1])  # its SETTLE is in the last segment
    second = reopened(journal)

    second.settle([(segment, at, 1) for segment, at in in_backlog(second) if segment.path.name != first.path.name])
    third = reopened(second)

    assert len(names) > 2
    assert pending_sequences(third) == [sequence for segment, sequence, _ in appended[1:] if segment is first]
    third.close()


def in_backlog(journal: Journal) -> list[tuple[Segment, int]]:
    return [(segment, accept.sequence + at) for segment, accept, indexes in journal.backlog() for at in indexes]


def test_closing_twice_takes_nothing_from_the_next_owner(journal: Journal) -> None:
    journal.append("acme", 1, records(1))
    adopted = reopened(journal)

    journal.close()

    with pytest.raises(JournalLocked):
        Journal.adopt(journal.directory, **SIZES)
    assert pending(adopted) == [b"value-0"]
    adopted.close()


def test_a_journal_with_nothing_left_is_removed_when_closed(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(2))
    journal.settle([(segment, sequence, 2)])
    keep_ledger(journal)

    journal.close()

    assert not journal.directory.exists()


def test_a_journal_whose_totals_are_nowhere_else_stays_with_them(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(2))
    journal.settle([(segment, sequence, 2)])

    adopted = reopened(journal)

    assert (totals(adopted).journaled, totals(adopted).delivered, adopted.unsettled) == (2, 2, 0)
    assert adopted.used_bytes < 1_000
    keep_ledger(adopted)
    adopted.close()
    assert not journal.directory.exists()


def test_what_is_counted_and_not_written_yet_is_needed(journal: Journal) -> None:
    for received in (1, 2):
        rejections = {"unknown_level": received}
        journal.count(Account("acme", 1, received=received, rejections=rejections))

    before = journal.is_finished
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert not before
    assert totals(adopted).rejected == {"unknown_level": 3}
    adopted.close()


def test_a_closed_journal_takes_nothing_more(journal: Journal) -> None:
    journal.close()

    with pytest.raises(Unavailable) as raised:
        journal.append("acme", 1, records(1))

    assert raised.value.code == "shutting_down"


def test_what_is_counted_when_it_is_closed_is_in_nobodys_way(journal: Journal) -> None:
    journal.close()

    journal.count(Account("acme", 1, received=1, dropped={"fire_and_forget": 1}))
    journal.write_counts()
    journal.close()

    assert totals(journal).received == 0
