"""What a few records pin in old segments is given back, and a death in the middle of it loses nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.dataplane import compaction
from ingest.dataplane.journal import Journal, Range
from ingest.dataplane.segments import HELD, IN_FLIGHT, PENDING, Record
from tests.unit.dataplane.journal_world import SIZES, pending_sequences, totals


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.create(tmp_path, **SIZES)
    yield made
    made.close()


def fill(journal: Journal, count: int) -> list[Range]:
    """So many requests of two records, over several segments."""
    places = []
    for number in range(count):
        records: list[Record] = [("logs", 0, b"k", f"{number}-{at}".encode() + bytes(300), 0) for at in range(2)]
        _, segment, sequence = journal.append("acme", 1, records)
        places.append((segment, sequence, 2))
    return places


def settle_but(journal: Journal, places: list[Range], kept: int) -> None:
    """Everything but the first record of one request, which waits for somebody."""
    segment, sequence, _ = places[kept]
    journal.settle([place for place in places if place is not places[kept]] + [(segment, sequence + 1, 1)])
    journal.mark(segment, sequence, [0], PENDING)


def files(journal: Journal) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in journal.directory.glob("*.segment")}


def test_a_segment_that_one_record_pins_shrinks_to_it(journal: Journal) -> None:
    places = fill(journal, 20)
    settle_but(journal, places, kept=0)
    before = files(journal)

    rewritten = journal.compact()

    pinned = places[0][0].path.name
    assert rewritten == 1
    assert files(journal)[pinned] < 1_000 < before[pinned]
    assert pending_sequences(journal) == [0]
    accept = journal.read(places[0][0], 0)
    assert [record is None for record in accept.records] == [False, True]


def test_what_is_rewritten_is_read_by_the_next_owner(journal: Journal) -> None:
    settle_but(journal, fill(journal, 20), kept=3)
    journal.compact()
    said = totals(journal)

    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert pending_sequences(adopted) == [6]
    assert (totals(adopted).delivered, totals(adopted).pending) == (said.delivered, said.pending) == (39, 1)
    adopted.close()


def test_what_is_settled_after_it_stays_settled(journal: Journal) -> None:
    places = fill(journal, 20)
    settle_but(journal, places, kept=0)
    journal.compact()

    journal.settle([(places[0][0], 0, 1)])
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert pending_sequences(adopted) == []
    assert totals(adopted).delivered == 40
    adopted.close()


@pytest.mark.parametrize("state", [IN_FLIGHT, HELD])
def test_what_is_in_librdkafkas_hands_is_left_where_it_is(journal: Journal, state: int) -> None:
    places = fill(journal, 20)
    settle_but(journal, places, kept=0)
    journal.mark(places[0][0], 0, [0], state)

    assert journal.compact() == (state == HELD)


def test_the_last_segment_is_not_rewritten(journal: Journal) -> None:
    places = fill(journal, 2)
    settle_but(journal, places, kept=0)

    assert journal.compact() == 0


def test_a_file_that_was_not_finished_is_thrown_away(journal: Journal) -> None:
    settle_but(journal, fill(journal, 20), kept=0)
    journal.close()
    left = journal.directory / f"{0:020d}-{0:08d}{compaction.SUFFIX}"
    left.write_bytes(b"half of it")

    adopted = Journal.adopt(journal.directory, **SIZES)

    assert not left.exists()
    assert pending_sequences(adopted) == [0]
    adopted.close()


def test_a_journal_that_a_parked_event_pins_takes_traffic_for_ever(journal: Journal) -> None:
    parked = fill(journal, 1)
    journal.mark(parked[0][0], 0, [0, 1], PENDING)

    for _ in range(20):
        journal.settle(fill(journal, 10))
        journal.compact()

    assert pending_sequences(journal) == [0, 1]
    assert len(files(journal)) <= 3
    assert totals(journal).pending == 2
