"""What a few records pin in old segments is given back, and a death in the middle of it loses nothing."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ingest.dataplane import compaction
from ingest.dataplane.journal import Journal, Range
from ingest.dataplane.segments import HELD, IN_FLIGHT, PENDING, Record
from tests.unit.dataplane.journal_world import SIZES, pending_sequences, totals
from tests.unit.dataplane.world import records


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.create(tmp_path, **SIZES)
    yield made
    made.close()


def fill(journal: Journal, count: int) -> list[Range]:
    """So many requests of two records, over several segments."""
    places = []
    for number in range(count):
        sent: list[Record] = [("logs", 0, b"k", f"{number}-{at}".encode() + bytes(300), 0) for at in range(2)]
        _, segment, sequence = journal.append("acme", 1, sent)
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


def test_what_was_rewritten_is_not_rewritten_again_before_more_of_it_is_settled(journal: Journal) -> None:
    _, segment, sequence = journal.append("acme", 1, records(300))
    fill(journal, 10)
    journal.settle([(segment, sequence + 2, 298)])
    journal.mark(segment, sequence, [0, 1], PENDING)

    rewritten = [journal.compact(), journal.compact()]

    assert rewritten == [1, 0]
    journal.settle([(segment, sequence, 1)])
    assert pending_sequences(journal) == [1]


def test_the_settles_that_an_older_segment_needs_outlive_a_rewriting_of_what_holds_them(journal: Journal) -> None:
    places = fill(journal, 1)
    while len(files(journal)) < 2:
        places += fill(journal, 1)
    journal.settle([(places[0][0], 0, 1)])  # written into the second segment
    while len(files(journal)) < 3:
        places += fill(journal, 1)
    second = [place for place in places if place[0].ordinal == 1]
    journal.settle(second[1:])
    for segment, sequence, _ in places:
        journal.mark(segment, sequence, [0, 1], PENDING)
    waiting, said = pending_sequences(journal), totals(journal)

    rewritten = journal.compact()
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert rewritten == 1
    assert waiting[0] == 1
    assert pending_sequences(adopted) == waiting
    assert totals(adopted) == said
    adopted.close()


def test_of_a_settled_segment_only_the_settles_that_an_older_one_needs_stay(journal: Journal) -> None:
    places = fill(journal, 1)
    while len(files(journal)) < 2:
        places += fill(journal, 1)
    journal.settle([(places[0][0], 0, 1)])  # written into the second segment
    while len(files(journal)) < 3:
        places += fill(journal, 1)
    oldest, second = places[0][0], [place for place in places if place[0].ordinal == 1]
    journal.settle(second)
    waiting = [at for segment, first, _ in places if segment is oldest for at in (first, first + 1) if at]

    rewritten = [journal.compact(), journal.compact()]
    left = files(journal)[second[0][0].path.name]
    late = journal.settle([second[0]])
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert rewritten == [1, 0]
    assert left < 200
    assert late == 0
    assert pending_sequences(adopted)[: len(waiting)] == waiting
    adopted.close()


def test_a_damaged_segment_is_left_as_it_is_with_all_that_is_known_of_it(journal: Journal) -> None:
    places = fill(journal, 20)
    settle_but(journal, places, kept=0)
    segment = places[0][0]
    os.pwrite(segment.fd, b"\xff", segment.places[1] + 10)
    before = len(os.listdir("/proc/self/fd"))

    rewritten = [journal.compact() for _ in range(3)]

    assert (rewritten, segment.is_damaged) == ([0, 0, 0], True)
    assert len(os.listdir("/proc/self/fd")) == before
    assert list(journal.directory.glob(f"*{compaction.SUFFIX}")) == []
    for _ in range(4):
        journal.settle(fill(journal, 4))
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)
    assert pending_sequences(adopted) == [0]
    adopted.close()


@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_death_beside_the_rename_loses_nothing_and_unsettles_nothing(journal: Journal, is_renamed: bool) -> None:
    """What is settled while the new file is written has its SETTLE elsewhere, and counts whichever file is read."""
    places = fill(journal, 20)
    settle_but(journal, places, kept=0)
    segment = places[0][0]
    new = compaction.rewritten(segment, [])
    _, last, sequence = journal.append("acme", 1, records(2))
    journal.settle([(segment, 0, 1), (last, sequence, 1)])

    if is_renamed:
        new.path.rename(segment.path)
    copy = journal.directory.parent / "copy"
    shutil.copytree(journal.directory, copy)
    adopted = Journal.adopt(copy, **SIZES)

    assert pending_sequences(adopted) == [sequence + 1]
    assert (totals(adopted).delivered, totals(adopted).pending) == (41, 1)
    assert list(copy.glob(f"*{compaction.SUFFIX}")) == []
    adopted.close()
    os.close(new.fd)


class ChangingStates(bytearray):
    """States of a segment of which something changes when a rewriting has looked at the last of them."""

    def __init__(self, states: bytearray, meanwhile: Callable[[], object]) -> None:
        super().__init__(states)
        self.meanwhile: Callable[[], object] | None = meanwhile

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        if isinstance(at, slice) and at.stop == len(self) and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return found


def test_a_segment_of_which_the_rest_is_settled_meanwhile_goes_when_it_is_rewritten(journal: Journal) -> None:
    places = fill(journal, 20)
    settle_but(journal, places, kept=0)
    segment = places[0][0]
    segment.states = ChangingStates(segment.states, lambda: journal.settle([(segment, 0, 1)]))

    journal.compact()

    assert (journal.unsettled, totals(journal).delivered) == (0, 40)
    assert not segment.path.exists()
    assert list(journal.directory.glob(f"*{compaction.SUFFIX}")) == []


def test_what_a_rewritten_segment_needs_no_more_goes(journal: Journal) -> None:
    places = fill(journal, 1)
    while len(files(journal)) < 2:
        places += fill(journal, 1)
    second = places[-1]
    journal.mark(*places[0][:2], [0], PENDING)
    settled = [place for place in places[1:] if place is not second]
    journal.settle([(places[0][0], 1, 1), *settled])  # written into the second segment
    while len(files(journal)) < 3:
        places += fill(journal, 1)
    third = places[-1]
    journal.settle([place for place in places if place[0] is second[0]])

    journal.compact()

    assert set(files(journal)) == {places[0][0].path.name, third[0].path.name}
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)
    assert pending_sequences(adopted) == [0, third[1], third[1] + 1]
    adopted.close()


def test_settling_syncing_and_rewriting_at_once_lose_nothing(journal: Journal) -> None:
    is_over = threading.Event()

    def until_over(what: Callable[[], object]) -> None:
        while not is_over.is_set():
            what()

    left: list[Range] = []
    with ThreadPoolExecutor(2) as threads:
        beside = [threads.submit(until_over, what) for what in (journal.compact, journal.sync)]
        try:
            for number in range(300):
                places = left + fill(journal, 1)
                left = places[-(number % 5) :] if number % 5 else []
                journal.settle([place for place in places if place not in left])
        finally:
            is_over.set()
    said = totals(journal)
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert [one.result() for one in beside] == [None, None]
    assert pending_sequences(adopted) == [at for _, first, _ in left for at in (first, first + 1)]
    assert totals(adopted) == said
    assert (said.journaled, said.pending) == (600, 2 * len(left))
    adopted.close()
