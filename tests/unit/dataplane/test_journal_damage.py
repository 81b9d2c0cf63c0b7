"""A torn end, a damaged frame, an unfinished file: all that can be read is kept, and the rest is counted."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.dataplane.journal import Journal
from ingest.dataplane.replay import DAMAGED
from ingest.dataplane.segments import MAGIC, PENDING
from tests.unit.dataplane.journal_world import (
    SEGMENT_BYTES,
    SIZES,
    fill,
    keep_ledger,
    pending,
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


def test_a_torn_end_is_cut_and_what_was_whole_stays(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.append("acme", 1, records(2))
    _, segment, _ = journal.append("acme", 1, records(1, start=2))
    at = segment.places[1]
    os.pwrite(segment.fd, b"\0\0\0\0", segment.size_bytes - 4)

    adopted = reopened(journal)

    assert pending(adopted) == [b"value-0", b"value-1"]
    assert "a torn last frame" in caplog.text
    assert set(segment.path.read_bytes()[at:]) <= {0}
    adopted.close()


def test_behind_a_damaged_frame_all_that_is_whole_is_read_and_the_file_set_aside(journal: Journal) -> None:
    appended = fill(journal)
    first = appended[0][0]
    os.pwrite(first.fd, b"\xff", first.places[2] + 10)

    adopted = reopened(journal)
    whole = len(appended) - 1

    assert adopted.damaged_frames == 1
    assert len(pending(adopted)) == whole
    settle_pending(adopted)
    keep_ledger(adopted)
    adopted.close()
    assert [path.suffix for path in journal.directory.iterdir()] == [".damaged"]


def test_what_cannot_be_read_any_more_is_discarded_in_the_ledger(journal: Journal) -> None:
    first = fill(journal)[0][0]
    os.pwrite(first.fd, b"\xff", first.places[2] + 10)

    adopted = reopened(journal)
    adopted.write_counts()

    assert totals(adopted).discarded == {DAMAGED: 1}
    assert totals(adopted).pending == adopted.unsettled == len(pending(adopted))
    adopted.close()


def test_a_frame_that_goes_bad_under_a_living_worker_is_given_up(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(3))
    journal.mark(segment, sequence, range(3), PENDING)
    os.pwrite(segment.fd, b"\xff", segment.places[0] + 10)

    given_up = journal.give_up_damaged(segment, sequence)

    assert (given_up, journal.unsettled) == (3, 0)
    assert totals(journal).discarded == {DAMAGED: 3}


def test_behind_a_frame_that_went_bad_nothing_settled_becomes_pending_again(journal: Journal) -> None:
    _, _, whole = journal.append("acme", 1, records(2))
    _, segment, sequence = journal.append("acme", 1, records(3))
    journal.mark(segment, sequence, range(3), PENDING)
    os.pwrite(segment.fd, b"\xff", segment.places[1] + 10)

    journal.give_up_damaged(segment, sequence)
    journal.settle([(segment, whole, 1)])
    adopted = reopened(journal)

    assert pending(adopted) == [b"value-1"]
    assert (totals(adopted).delivered, totals(adopted).discarded) == (1, {DAMAGED: 3})
    adopted.close()


def test_a_file_of_another_format_is_set_aside_untouched(journal: Journal) -> None:
    _, segment, _ = journal.append("acme", 1, records(2))
    os.pwrite(segment.fd, b"FBJ9", 0)
    journal.close()
    before = segment.path.read_bytes()

    adopted = Journal.adopt(journal.directory, **SIZES)
    adopted.close()

    (aside,) = journal.directory.glob("*.damaged")
    assert aside.read_bytes() == before


@pytest.mark.parametrize("reserved", [0, SEGMENT_BYTES])
@pytest.mark.parametrize("size", range(len(MAGIC) + 1))
def test_a_process_that_died_while_it_made_a_segment_leaves_no_harm(journal: Journal, size: int, reserved: int) -> None:
    journal.append("acme", 1, records(2))
    (journal.directory / f"{2:020d}-{1:08d}.segment").write_bytes(MAGIC[:size].ljust(reserved, b"\0"))

    adopted = reopened(journal)

    assert pending(adopted) == [b"value-0", b"value-1"]
    assert adopted.damaged_frames == 0
    settle_pending(adopted)
    said = totals(adopted)
    again = reopened(adopted)
    assert (totals(again), said.delivered) == (said, 2)
    again.close()
