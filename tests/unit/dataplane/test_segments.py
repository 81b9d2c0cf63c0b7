"""A segment holds checksummed frames and one byte of state for each record; what is damaged is told, not guessed."""

import os
import resource
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.ledger import Account
from ingest.dataplane.segments import (
    FRAME,
    HELD,
    IN_FLIGHT,
    PENDING,
    SETTLED,
    Accept,
    DamagedFrame,
    Segment,
    Settle,
    frame,
)
from tests.unit.dataplane.world import records

RESERVED_BYTES = 4_096
NAME = f"{0:020d}-{0:08d}.segment"
ACME = Account("acme", 0)
STATES = [PENDING, IN_FLIGHT, SETTLED, HELD]


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    made = Segment.create(tmp_path / NAME, 0, RESERVED_BYTES)
    yield made
    os.close(made.fd)


def write(segment: Segment, count: int, sequence: int = 0) -> int:
    at = segment.write(*frame(Accept(sequence, 1, "acme", [*records(count)])))
    segment.add(sequence, at, count, IN_FLIGHT, ACME, 10)
    return at


def settle(segment: Segment, first: int, count: int) -> int:
    """How many records that settled."""
    return sum(settled for _, settled, _ in segment.settle(first, count))


def test_what_is_written_is_read_in_order(segment: Segment) -> None:
    first, second = Accept(0, 1, "acme", [*records(2)]), Settle([(0, 2)])

    segment.write(*frame(first))
    segment.write(*frame(second))

    entries = [entry for _, _, entry in segment.entries(segment.size_bytes)]
    assert entries == [first, second]


def test_its_space_is_reserved_and_reads_as_its_end(segment: Segment) -> None:
    write(segment, 1)

    assert os.fstat(segment.fd).st_size == RESERVED_BYTES
    assert segment.read(segment.size_bytes) == (None, segment.size_bytes)
    assert len(list(segment.entries(RESERVED_BYTES))) == 1


def test_a_disk_without_room_is_noticed_when_a_segment_is_made(tmp_path: Path) -> None:
    path = tmp_path / NAME

    with pytest.raises(OSError, match=r"File too large|No space left"):
        Segment.create(path, 0, 1 << 62)

    assert not path.exists()


@pytest.mark.parametrize("offset", [0, 3, 4, 7, 8, 20])
def test_a_flipped_bit_is_a_damaged_frame(segment: Segment, offset: int) -> None:
    at = write(segment, 1)
    before = os.pread(segment.fd, 1, at + offset)

    os.pwrite(segment.fd, bytes((before[0] ^ 1,)), at + offset)

    with pytest.raises(DamagedFrame):
        segment.read(at)


def test_a_length_beyond_the_file_takes_no_memory(segment: Segment) -> None:
    at = write(segment, 1)

    os.pwrite(segment.fd, FRAME.pack(0xFFFFFFFF, 0), at)

    with pytest.raises(DamagedFrame):
        segment.read(at)


@pytest.mark.parametrize("payload", [b"\x93\x01\x02", b"\x92\x09\x90", b"\xc1", b"\x92\x02\xa1x"])
def test_a_frame_that_is_whole_and_not_ours_is_damaged(segment: Segment, payload: bytes) -> None:
    at = segment.write(FRAME.pack(len(payload), zlib.crc32(payload)), payload)

    with pytest.raises(DamagedFrame):
        segment.read(at)


def test_settled_records_stay_settled(segment: Segment) -> None:
    write(segment, 3)
    settled = settle(segment, 0, 3)

    changed = [segment.change(0, 3, state) for state in STATES]

    assert (settled, changed) == (3, [0, 0, 0, 0])
    assert (segment.unsettled, segment.pending, segment.live_bytes) == (0, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 10), st.sampled_from([*STATES, None])), max_size=30))
def test_the_counts_are_those_of_the_states(changes: list[tuple[int, int, int | None]]) -> None:
    segment = Segment(Path(NAME), first_sequence=100, fd=-1, reserved_bytes=0)
    segment.add(100, 0, 10, IN_FLIGHT, ACME, 10)
    settled: set[int] = set()

    for first, count, state in changes:
        count = min(count, 10 - first)
        before = segment.states.count(SETTLED)
        told = settle(segment, 100 + first, count) if state is None else segment.change(100 + first, count, state)

        assert told == segment.states.count(SETTLED) - before or state not in (None, SETTLED)
        assert all(segment.states[at] == SETTLED for at in settled)
        settled = {at for at, held in enumerate(segment.states) if held == SETTLED}
        assert segment.unsettled == 10 - len(settled)
        assert segment.pending == segment.states.count(PENDING)
        assert segment.live_bytes >= 0


def test_a_frame_of_which_the_disk_took_a_part_is_not_there(segment: Segment) -> None:
    write(segment, 2)
    end, (soft, hard) = segment.size_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (end + 20, hard))

    try:
        with pytest.raises(OSError, match="wrote 20 of"):
            write(segment, 2, sequence=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert segment.size_bytes == end
    assert segment.read(end)[0] is None
    write(segment, 1, sequence=2)
    assert len(list(segment.entries(segment.size_bytes))) == 2
