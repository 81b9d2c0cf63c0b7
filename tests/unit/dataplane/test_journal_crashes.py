"""A process may die at any byte it writes: what was whole before is there for the next one, no more and no less.

Each example runs a journal, copies its directory as a killed process would have left it, cut at some byte, and adopts
the copy. What must be pending then, and what the ledger must say, follow from the frames that lie wholly before it.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.ledger import Account, Ending
from ingest.dataplane.segments import PENDING, Segment
from tests.unit.dataplane.journal_world import pending_sequences as pending
from tests.unit.dataplane.journal_world import totals

# Long enough that many a cut leaves a frame that still decodes, and only its checksum tells.
VALUE = b"v" * 60
SIZES = {"segment_bytes": SETTLE_RESERVE_BYTES + 2_000, "max_bytes": 5 * (SETTLE_RESERVE_BYTES + 2_000)}
COMPACT, COUNT = "compact", "count"

Step = int | str | tuple[Ending, list[float]]


class Written(NamedTuple):
    """A frame: where it ends, which records it made pending or settled, and what it adds to the ledger."""

    segment: str
    end: int
    accepted: range
    settled: frozenset[int]
    adds: Account


class History:
    """A journal beside a plain account of what was written to it."""

    def __init__(self, root: Path) -> None:
        self.journal = Journal.create(root, **SIZES)
        self.written: list[Written] = []
        self.places: dict[int, Segment] = {}
        self.settled: set[int] = set()

    def do(self, step: Step) -> None:
        if isinstance(step, int):
            self.append(step)
        elif isinstance(step, tuple):
            self.settle(*step)
        elif step == COUNT:
            self.journal.count(Account("acme", 1, received=2, rejections={"unknown_level": 2}))
            self.journal.write_counts()
            self.note(Account("", 0, received=2))
        else:
            self.journal.compact()

    def append(self, count: int) -> None:
        records = [("logs", 0, b"key", VALUE, 0)] * count
        try:
            _, segment, first = self.journal.append("acme", 60_000 * count, records, dropped={"noise": 1})
        except Unavailable:
            return
        accepted = range(first, first + count)
        self.places |= dict.fromkeys(accepted, segment)
        self.note(Account("", 0, received=count + 1, journaled=count + 1, dropped={"noise": 1}), accepted)

    def settle(self, ending: Ending, shares: list[float]) -> None:
        chosen = frozenset(int(share * len(self.places)) for share in shares if self.places)
        if not chosen:
            return
        self.journal.settle([(self.places[sequence], sequence, 1) for sequence in sorted(chosen)], ending, "cleared")
        adds = Account("", 0)
        adds.settle(len(chosen - self.settled), ending, "cleared")
        self.settled |= chosen
        self.note(adds, settled=chosen)

    def note(self, adds: Account, accepted: range = range(0), settled: frozenset[int] = frozenset()) -> None:
        last = self.journal._segments[-1]
        self.written.append(Written(last.path.name, last.size_bytes, accepted, settled, adds))

    @property
    def directory(self) -> Path:
        return self.journal.directory

    def whole(self, cut_segment: str, cut: int) -> list[Written]:
        """The frames that are left when one segment is lost from a byte on."""
        return [frame for frame in self.written if frame.segment != cut_segment or frame.end <= cut]

    def expected(self, cut_segment: str, cut: int) -> list[int]:
        """What must be pending then."""
        kept = {segment.path.name for segment in self.journal._segments}
        whole = self.whole(cut_segment, cut)
        settled = {sequence for frame in whole for sequence in frame.settled}
        return [
            sequence
            for frame in whole
            if frame.segment in kept
            for sequence in frame.accepted
            if sequence not in settled
        ]

    def ledger(self, cut_segment: str, cut: int) -> tuple[int, ...]:
        """What the ledger must say then."""
        total = Account("", 0)
        for frame in self.whole(cut_segment, cut):
            total.add(frame.adds)
        return figures(total)


def figures(total: Account) -> tuple[int, ...]:
    return (
        total.received,
        total.journaled,
        total.retracted,
        total.delivered,
        total.dead_lettered,
        sum(total.dropped.values()),
        sum(total.discarded.values()),
    )


endings = st.tuples(st.sampled_from(list(Ending)), st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
operations = st.lists(st.integers(1, 8) | endings | st.sampled_from([COMPACT, COUNT]), min_size=1, max_size=25)


@contextmanager
def history(steps: list[Step]) -> Iterator[History]:
    with tempfile.TemporaryDirectory() as root:
        made = History(Path(root) / "live")
        for step in steps:
            made.do(step)
        yield made
        made.journal.close()


def adopted_after_cut(made: History, share: float, *, zeros: bool) -> tuple[str, int, Journal]:
    """The last segment's end is missing from somewhere on, or reads as the zeros that its reserved space held. Its
    checkpoint is whole: what came before it goes only when that is written."""
    copy = made.directory.parent / "copy"
    shutil.copytree(made.directory, copy)
    live = made.journal._segments[-1]
    last = copy / live.path.name
    content = last.read_bytes()
    begins = next(next_at for _, next_at, _ in live.entries(live.size_bytes))
    cut = begins + int(share * (live.size_bytes + 1 - begins))
    last.write_bytes(content[:cut] + bytes(len(content) - cut if zeros else 0))
    return last.name, cut, Journal.adopt(copy, **SIZES)


@settings(max_examples=60, deadline=None)
@given(operations, st.floats(0, 1), st.booleans())
def test_what_was_whole_survives_a_death_at_any_byte(steps: list[Step], share: float, zeros: bool) -> None:
    with history(steps) as made:
        name, cut, adopted = adopted_after_cut(made, share, zeros=zeros)

        assert pending(adopted) == made.expected(name, cut)
        assert figures(totals(adopted)) == made.ledger(name, cut)
        assert (adopted.damaged_frames, adopted.unsettled) == (0, totals(adopted).pending)
        adopted.close()


@settings(max_examples=30, deadline=None)
@given(operations, st.floats(0, 1), st.booleans(), operations)
def test_an_adopter_that_settles_and_dies_passes_on_the_rest(
    steps: list[Step], share: float, zeros: bool, then: list[Step]
) -> None:
    with history(steps) as made:
        _, _, adopted = adopted_after_cut(made, share, zeros=zeros)
        waiting = pending(adopted)
        places = {a.sequence + at: segment for segment, a, indexes in adopted.backlog() for at in indexes}

        for step in then:
            if isinstance(step, tuple) and waiting:
                chosen = {waiting[int(one * len(waiting))] for one in step[1]}
                adopted.settle([(places[sequence], sequence, 1) for sequence in chosen], step[0], "cleared")
                waiting = [sequence for sequence in waiting if sequence not in chosen]
            elif step == COMPACT:
                adopted.compact()
        left_by_it, said = adopted.directory, figures(totals(adopted))
        adopted.close()
        if not any(said):
            assert not left_by_it.exists()
            return

        next_one = Journal.adopt(left_by_it, **SIZES)
        assert pending(next_one) == waiting
        assert figures(totals(next_one)) == said
        next_one.close()


@settings(max_examples=40, deadline=None)
@given(operations)
def test_a_killed_process_that_wrote_its_last_byte_loses_and_unsettles_nothing(steps: list[Step]) -> None:
    with history(steps) as made:
        _, _, adopted = adopted_after_cut(made, 1.0, zeros=True)
        in_memory = [
            segment.first_sequence + at
            for segment in made.journal._segments
            for at, state in enumerate(segment.states)
            if state != 2
        ]

        assert pending(adopted) == in_memory
        assert adopted.unsettled == totals(adopted).pending == totals(made.journal).pending
        adopted.close()


@settings(max_examples=30, deadline=None)
@given(operations, st.data())
def test_the_backlog_is_what_is_pending_however_it_came_and_went(steps: list[Step], data: st.DataObject) -> None:
    with history(steps) as made:
        _, _, adopted = adopted_after_cut(made, 1.0, zeros=True)
        accepts = {a.sequence: (segment, a, len(a.records)) for segment, a, _ in adopted.backlog()}
        model = set(pending(adopted))

        for _ in range(10 if accepts else 0):
            segment, accept, count = accepts[data.draw(st.sampled_from(sorted(accepts)))]
            index, state = data.draw(st.integers(0, count - 1)), data.draw(st.sampled_from([PENDING, 1, 3]))
            if segment.states[accept.sequence + index - segment.first_sequence] == 2:
                continue
            adopted.mark(segment, accept.sequence, [index], state)
            model = model - {accept.sequence + index} | ({accept.sequence + index} if state == PENDING else set())

            assert pending(adopted) == sorted(model)
            assert adopted.pending == len(model)
        adopted.close()
