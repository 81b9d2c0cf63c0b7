"""One segment of a journal: a file of checksummed frames, with one byte of state in memory for each record in it.

Data plane. A frame is `length u32 | crc32 u32 | msgpack`, little-endian; a length of 0 is the end, for the file's space
is reserved ahead and reads as zeros. Every later release must read what is written here: change `MAGIC` with it.
"""

import contextlib
import logging
import os
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import msgspec

from ingest.dataplane.ledger import Account, Ending

log = logging.getLogger(__name__)

MAGIC = b"FBJ2\n\0\0\0"
FRAME = struct.Struct("<II")

# The state of a record: in nobody's hands, in librdkafka's, done with, or kept back because Kafka refused it.
PENDING, IN_FLIGHT, SETTLED, HELD = 0, 1, 2, 3
_STATE = (b"\0", b"\1", b"\2", b"\3")

Record = tuple[str, int, bytes, bytes, int]
"""topic, partition, key, value, rule"""


class Accept(msgspec.Struct, array_like=True, tag=1, gc=False):
    """The records of one request. `sequence` numbers the first of them in its journal; the others follow. A record that
    was settled when its segment was rewritten is None."""

    sequence: int
    accepted_wall_ms: int
    tenant: str
    records: list[Record | None]
    policy_version: int = 0
    rejections: dict[str, int] = msgspec.field(default_factory=dict)
    dropped: dict[str, int] = msgspec.field(default_factory=dict)


class Settle(msgspec.Struct, array_like=True, tag=2, gc=False):
    """Ranges (first sequence, count) of records that need nothing more, and what became of them. `counts` are how many
    that settled, by tenant and minute: the segments that would tell may be gone when this is read."""

    ranges: list[tuple[int, int]]
    ending: Ending = Ending.DELIVERED
    reason: str = ""
    counts: list[tuple[str, int, int]] = msgspec.field(default_factory=list)


class Counts(msgspec.Struct, array_like=True, tag=3, gc=False):
    """What is to be added to accounts without a record of its own: rejections, and fire_and_forget."""

    accounts: list[Account]


class Checkpoint(msgspec.Struct, array_like=True, tag=4, gc=False):
    """All accounts as they were when the segment began: for them nothing before it need be read."""

    accounts: list[Account]


Entry = Accept | Settle | Counts | Checkpoint

# An array of as many elements as Accept has and its tag, then the tag's number.
_ACCEPT_BEGINS = bytes((0x90 + len(Accept.__struct_fields__) + 1, 1))

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Entry).decode


def frame(entry: Entry) -> tuple[bytes, bytes]:
    """The header and the payload of an entry, ready for one writev."""
    payload = _pack(entry)
    return FRAME.pack(len(payload), zlib.crc32(payload)), payload


class Segment:
    """An open segment. The journal's lock guards every change of its state.

    `starts`, `places`, `sizes_bytes` and `accounts` have an element for each ACCEPT: first sequence, first byte of its
    frame, bytes a record, account.
    """

    def __init__(self, path: Path, first_sequence: int, fd: int, reserved_bytes: int) -> None:
        self.path = path
        self.fd = fd
        self.first_sequence = first_sequence
        self.reserved_bytes = reserved_bytes
        self.states = bytearray()
        self.starts = array("Q")
        self.places = array("Q")
        self.sizes_bytes = array("L")
        self.accounts: list[Account] = []
        # A file that was saved from elsewhere may have any name.
        ordinal = path.stem.partition("-")[2]
        self.ordinal = int(ordinal) if ordinal.isdecimal() else 0
        self.size_bytes = len(MAGIC)
        self.live_bytes = 0
        # What of it was live when it was rewritten last.
        self.rewritten_bytes: int | None = None
        self.unsettled = 0
        self.pending = 0
        self.is_damaged = False
        self.is_new = self.is_unsynced = True
        # Ordinals of the other segments that hold SETTLEs of this one's records, and must not go before it.
        self.settled_in: set[int] = set()

    @classmethod
    def create(cls, path: Path, first_sequence: int, reserve_bytes: int) -> "Segment":
        """A new file with its space reserved, so that a full disk shows here and not in the middle of an append."""
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, reserve_bytes)
            os.pwrite(fd, MAGIC, 0)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        return cls(path, first_sequence, fd, reserve_bytes)

    @classmethod
    def open(cls, path: Path, first_sequence: int, *, may_write: bool = True) -> "Segment":
        """A segment that an earlier process left behind; the caller replays its entries."""
        fd = os.open(path, (os.O_RDWR if may_write else os.O_RDONLY) | os.O_CLOEXEC)
        return cls(path, first_sequence, fd, os.fstat(fd).st_size)

    @property
    def is_of_this_format(self) -> bool:
        """Whether it begins as `create` writes it, or died while it did."""
        return MAGIC.startswith(os.pread(self.fd, len(MAGIC), 0).rstrip(b"\0"))

    @property
    def end_sequence(self) -> int:
        """One past the last record."""
        return self.first_sequence + len(self.states)

    @property
    def in_flight(self) -> int:
        """Records in librdkafka's hands."""
        return self.states.count(IN_FLIGHT)

    def write(self, header: bytes, payload: bytes) -> int:
        """Append one frame and return where it begins. Raises OSError; nothing counts as written then."""
        at, expected = self.size_bytes, len(header) + len(payload)
        written = os.pwritev(self.fd, (header, payload), at)
        if written != expected:
            os.pwrite(self.fd, bytes(FRAME.size), at)
            raise OSError(f"{self.path.name}: wrote {written} of {expected} bytes")
        self.size_bytes += expected
        self.is_unsynced = True
        return at

    def add(self, sequence: int, at: int, count: int, state: int, account: Account, record_bytes: int) -> None:
        """An ACCEPT that is written. Sequences that are left out belong to what was settled before a rewrite."""
        states = self.states
        gap = sequence - self.first_sequence - len(states)
        if gap:
            states += _STATE[SETTLED] * gap
        states += _STATE[state] * count
        self.starts.append(sequence)
        self.places.append(at)
        self.sizes_bytes.append(record_bytes)
        self.accounts.append(account)
        if state != SETTLED:
            self.unsettled += count
            self.live_bytes += count * record_bytes
        if state == PENDING:
            self.pending += count

    def change(self, sequence: int, count: int, state: int) -> int:
        """Set the state of records; settled ones stay settled. Returns how many changed."""
        changed = 0
        for at in range(sequence - self.first_sequence, sequence - self.first_sequence + count):
            before = self.states[at]
            if before in (state, SETTLED):
                continue
            self.states[at] = state
            self.pending += (state == PENDING) - (before == PENDING)
            self.unsettled -= state == SETTLED
            changed += 1
        return changed

    def settle(self, sequence: int, count: int) -> Iterator[tuple[Account, int, int]]:
        """Settle a range; yields each account with how many of its records that settled, and their bytes."""
        first, end = sequence - self.first_sequence, sequence + count
        # The whole range at once where all of it was in flight, which is the common case.
        is_whole = self.states.count(IN_FLIGHT, first, first + count) == count
        if is_whole:
            self.states[first : first + count] = _STATE[SETTLED] * count
            self.unsettled -= count
        if not self.accounts:
            return  # nothing of it was left when it was rewritten
        at = self.index_of(sequence)
        starts, sizes_bytes, accounts = self.starts, self.sizes_bytes, self.accounts
        total = total_bytes = 0
        account = accounts[at]
        while sequence < end:
            if accounts[at] is not account:
                # A thousand requests of one tenant are one account: it is told of once.
                yield account, total, total_bytes
                account, total, total_bytes = accounts[at], 0, 0
            stop = min(end, starts[at + 1]) if at + 1 < len(starts) else end
            settled = stop - sequence if is_whole else self.change(sequence, stop - sequence, SETTLED)
            total += settled
            total_bytes += settled * sizes_bytes[at]
            self.live_bytes -= settled * sizes_bytes[at]
            sequence, at = stop, at + 1
        yield account, total, total_bytes

    def accept_of(self, sequence: int) -> Accept:
        """The ACCEPT that holds a record. Raises DamagedFrame."""
        entry, _ = self.read(self.places[self.index_of(sequence)])
        if not isinstance(entry, Accept):
            raise DamagedFrame(f"{self.path.name}: no ACCEPT where record {sequence} should be")
        return entry

    def begins(self, sequence: int) -> bool:
        """Whether an ACCEPT begins there; no more when it was settled and is left out of a rewritten file."""
        at = self.index_of(sequence)
        return at >= 0 and self.starts[at] == sequence

    def records_of(self, sequence: int) -> range:
        """The numbers of all records of the ACCEPT that holds one, as far as they are known."""
        at = self.index_of(sequence)
        return range(self.starts[at], self.starts[at + 1] if at + 1 < len(self.starts) else self.end_sequence)

    def unsettled_of(self, sequence: int) -> int:
        """How many records of the ACCEPT that holds one are not settled."""
        records = self.records_of(sequence)
        first = records.start - self.first_sequence
        return len(records) - self.states.count(SETTLED, first, first + len(records))

    def first_unsettled(self) -> int | None:
        """The oldest record that is not settled."""
        if not self.unsettled:
            return None
        return self.end_sequence - len(self.states.lstrip(_STATE[SETTLED]))

    def pending_of(self, accept: Accept) -> list[int]:
        """Which of its records wait for the drain, by index."""
        start = accept.sequence - self.first_sequence
        states = self.states[start : start + len(accept.records)]
        return [index for index, state in enumerate(states) if state == PENDING]

    def read(self, at: int) -> tuple[Entry | None, int]:
        """The entry that begins there and where the next one does; None at the end. Raises DamagedFrame."""
        length, checksum = FRAME.unpack(os.pread(self.fd, FRAME.size, at).ljust(FRAME.size, b"\0"))
        next_at = at + FRAME.size + length
        if length == 0:
            return None, at
        # A damaged length may be anything up to 4 GiB, and pread takes the memory first.
        is_inside = next_at <= os.fstat(self.fd).st_size
        payload = os.pread(self.fd, length, at + FRAME.size) if is_inside else b""
        if len(payload) != length or zlib.crc32(payload) != checksum:
            raise DamagedFrame(f"{self.path.name}: damaged frame at byte {at}")
        try:
            return _unpack(payload), next_at
        except msgspec.DecodeError as error:
            raise DamagedFrame(f"{self.path.name}: unreadable frame at byte {at}: {error}") from error

    def entries(self, end: int) -> Iterator[tuple[int, int, Entry]]:
        """All entries: where each begins, where the next would, and itself. Raises DamagedFrame."""
        at = len(MAGIC)
        while at < end:
            entry, next_at = self.read(at)
            if entry is None:
                return
            yield at, next_at, entry
            at = next_at

    def next_frame(self, at: int) -> int | None:
        """Where the next whole ACCEPT begins behind a damaged frame; None when there is none. An ACCEPT begins with its
        array's header and its tag, so only few places need a look."""
        data = os.pread(self.fd, self.reserved_bytes - at, at)
        found = data.find(_ACCEPT_BEGINS, FRAME.size + 1)
        while found >= 0:
            begins = at + found - FRAME.size
            try:
                if isinstance(self.read(begins)[0], Accept):
                    return begins
            except DamagedFrame:
                pass  # these bytes were part of something else
            found = data.find(_ACCEPT_BEGINS, found + 1)
        return None

    def is_torn_at_end(self, usual_bytes: int) -> bool:
        """Whether one unfinished frame follows `size_bytes` and nothing comes behind it, or the file was cut short."""
        length, _ = FRAME.unpack(os.pread(self.fd, FRAME.size, self.size_bytes).ljust(FRAME.size, b"\0"))
        behind = self.size_bytes + FRAME.size + length
        if behind > self.reserved_bytes:
            return self.reserved_bytes < usual_bytes
        return not os.pread(self.fd, FRAME.size, behind).strip(b"\0")

    def cut(self) -> None:
        """Forget what lies behind `size_bytes`, so that the next frame is not followed by the rest of a torn one."""
        os.ftruncate(self.fd, self.size_bytes)
        os.posix_fallocate(self.fd, 0, max(self.reserved_bytes, self.size_bytes))

    def dispose(self) -> None:
        """Close the file; remove it, or set it aside when part of it could not be read. Who settles must not fail for a
        file that stays, so that is logged only."""
        try:
            if self.is_damaged:
                self.path.rename(self.path.with_suffix(".damaged"))
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s is settled and cannot be removed: %s", self.path, error.strerror)
            self._empty()
        os.close(self.fd)
        self.fd = -1  # the number may soon be another file's

    def _empty(self) -> None:
        """What is settled must not come back with its file when the directory is adopted."""
        if not self.is_damaged:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, 0)

    def trim(self) -> None:
        """Give back the space that was reserved for more, if the disk lets us."""
        if not self.is_damaged:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self.size_bytes)

    def end(self) -> None:
        """Nothing more is written to it, and it is not synced again."""
        self.trim()
        self.reserved_bytes = self.size_bytes
        self.is_unsynced = self.is_new = False

    def take_over(self, new: "Segment") -> None:
        """Take the file of a rewritten copy in the place of this one's own; the states stay."""
        new.path.rename(self.path)
        os.close(self.fd)
        self.fd, self.size_bytes, self.reserved_bytes = new.fd, new.size_bytes, new.reserved_bytes
        self.starts, self.places, self.sizes_bytes = new.starts, new.places, new.sizes_bytes
        self.accounts = new.accounts
        self.rewritten_bytes = self.live_bytes
        self.is_new = self.is_unsynced = True

    def index_of(self, sequence: int) -> int:
        """Which of its ACCEPTs, in their order, holds a record."""
        return bisect_right(self.starts, sequence) - 1


def merge(ranges: list[tuple[Segment, int, int]]) -> list[tuple[Segment, int, int]]:
    """Ranges in order, adjoining ones of a segment as one: a thousand single events become one range."""
    merged: list[tuple[Segment, int, int]] = []
    last, end = None, -1
    for segment, first, count in sorted(ranges, key=itemgetter(1)):
        if segment is last and first == end:
            merged[-1] = (segment, merged[-1][1], end + count - merged[-1][1])
        else:
            merged.append((segment, first, count))
        last, end = segment, first + count
    return merged


class DamagedFrame(Exception):
    """A frame whose checksum does not fit: the torn end of a killed process, or a disk that lies."""
