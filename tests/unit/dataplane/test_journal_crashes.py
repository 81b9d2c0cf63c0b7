"""A process may die at any byte it writes: what was whole before is there for the next one, no more and no less.

Each example runs a journal, copies its directory as a killed process would have left it, cut at some byte, and adopts
the copy. What must be pending then follows from the frames that lie wholly before the cut.
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
from ingest.dataplane.segments import MAGIC, PENDING, Segment

# Long enough that many a cut leaves a frame that still decodes, and only its checksum tells.
VALUE = b"v" * 60
SIZES = {"segment_bytes": SETTLE_RESERVE_BYTES + 2_000, "max_bytes": 5 * (SETTLE_RESERVE_BYTES + 2_000)}


class Written(NamedTuple):
    """A frame: where it ends, and which records it made pending or settled."""

    segment: str
    end: int
    accepted: range
    settled: frozenset[int]


class History:
    """A journal beside a plain account of what was written to it."""

    def __init__(self, root: Path) -> None:
        self.journal = Journal.create(root, **SIZES)
        self.written: list[Written] = []
        self.places: dict[int, Segment] = {}

    def append(self, count: int) -> None:
        try:
            segment, _, first = self.journal.append("acme", 1, [("logs", 0, b"key", VALUE)] * count)
        except Unavailable:
            return
        accepted = range(first, first + count)
        self.places |= dict.fromkeys(accepted, segment)
        self.written.append(Written(segment.path.name, segment.size_bytes, accepted, frozenset()))

    def settle(self, shares: list[float]) -> None:
        chosen = frozenset(int(share * len(self.places)) for share in shares if self.places)
        if not chosen:
            return
        self.journal.settle([(self.places[sequence], sequence, 1) for sequence in sorted(chosen)])
        last = max(self.directory.glob("*.segment"), key=lambda path: path.name)
        end = next(s.size_bytes for s in self.journal._segments if s.path == last)
        self.written.append(Written(last.name, end, range(0), chosen))

    @property
    def directory(self) -> Path:
        return self.journal.directory

    def expected(self, cut_segment: str, cut: int) -> list[int]:
        """What must be pending when one segment is lost from a byte on."""
        kept = {path.name for path in self.directory.glob("*.segment")}
        whole = [w for w in self.written if w.segment in kept and (w.segment != cut_segment or w.end <= cut)]
        settled = {sequence for frame in whole for sequence in frame.settled}
        return [sequence for frame in whole for sequence in frame.accepted if sequence not in settled]


operations = st.lists(
    st.integers(1, 8) | st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4), min_size=1, max_size=25
)


@contextmanager
def history(steps: list[int | list[float]]) -> Iterator[History]:
    with tempfile.TemporaryDirectory() as root:
        made = History(Path(root) / "live")
        for step in steps:
            made.append(step) if isinstance(step, int) else made.settle(step)
        yield made
        made.journal.close()


def adopted_after_cut(made: History, share: float, *, zeros: bool) -> tuple[str, int, Journal]:
    """The last segment's end is missing from somewhere on, or reads as the zeros that its reserved space held."""
    copy = made.directory.parent / "copy"
    shutil.copytree(made.directory, copy)
    last = max(copy.glob("*.segment"), key=lambda path: path.name)
    content = last.read_bytes()
    used = max((w.end for w in made.written if w.segment == last.name), default=len(MAGIC))
    cut = int(share * (used + 1))
    last.write_bytes(content[:cut] + bytes(len(content) - cut if zeros else 0))
    return last.name, cut, Journal.adopt(copy, **SIZES)


def pending(journal: Journal) -> list[int]:
    return [accept.sequence + at for _, _, accept, indexes in journal.backlog() for at in indexes]


@settings(max_examples=60, deadline=None)
@given(operations, st.floats(0, 1), st.booleans())
def test_what_was_whole_survives_a_death_at_any_byte(steps: list[int | list[float]], share: float, zeros: bool) -> None:
    with history(steps) as made:
        name, cut, adopted = adopted_after_cut(made, share, zeros=zeros)

        assert pending(adopted) == made.expected(name, cut)
        adopted.close()


@settings(max_examples=30, deadline=None)
@given(operations, st.floats(0, 1), st.booleans(), operations)
def test_an_adopter_that_settles_and_dies_passes_on_the_rest(
    steps: list[int | list[float]], share: float, zeros: bool, then: list[int | list[float]]
) -> None:
    with history(steps) as made:
        _, _, adopted = adopted_after_cut(made, share, zeros=zeros)
        waiting = pending(adopted)
        places = {a.sequence + at: segment for segment, _, a, indexes in adopted.backlog() for at in indexes}

        for step in then:
            if isinstance(step, list) and waiting:
                chosen = {waiting[int(one * len(waiting))] for one in step}
                adopted.settle([(places[sequence], sequence, 1) for sequence in chosen])
                waiting = [sequence for sequence in waiting if sequence not in chosen]
        left_by_it = adopted.directory
        adopted.close()

        assert left_by_it.exists() is bool(waiting)
        if waiting:
            next_one = Journal.adopt(left_by_it, **SIZES)
            assert pending(next_one) == waiting
            next_one.close()


@settings(max_examples=40, deadline=None)
@given(operations)
def test_a_killed_process_that_wrote_its_last_byte_loses_and_unsettles_nothing(steps: list[int | list[float]]) -> None:
    with history(steps) as made:
        _, _, adopted = adopted_after_cut(made, 1.0, zeros=True)
        in_memory = [
            segment.first_sequence + at
            for segment in made.journal._segments
            for at, state in enumerate(segment.states)
            if state != 2
        ]

        assert pending(adopted) == in_memory
        adopted.close()


@settings(max_examples=30, deadline=None)
@given(operations, st.data())
def test_the_backlog_is_what_is_pending_however_it_came_and_went(
    steps: list[int | list[float]], data: st.DataObject
) -> None:
    with history(steps) as made:
        _, _, adopted = adopted_after_cut(made, 1.0, zeros=True)
        accepts = {a.sequence: (segment, at, a, len(a.records)) for segment, at, a, _ in adopted.backlog()}
        model = set(pending(adopted))

        for _ in range(10 if accepts else 0):
            segment, at, accept, count = accepts[data.draw(st.sampled_from(sorted(accepts)))]
            index, state = data.draw(st.integers(0, count - 1)), data.draw(st.sampled_from([PENDING, 1, 3]))
            if segment.states[accept.sequence + index - segment.first_sequence] == 2:
                continue
            adopted.mark(segment, at, accept.sequence, [index], state)
            model = model - {accept.sequence + index} | ({accept.sequence + index} if state == PENDING else set())

            assert pending(adopted) == sorted(model)
            assert adopted.pending == len(model)
        adopted.close()
