"""One segment of a journal: a file of checksummed frames, with one byte of state in memory for each record in it.

Data plane. A frame is `length u32 | crc32 u32 | msgpack`, little-endian; a length of 0 is the end, for the file's space
is reserved ahead and reads as zeros. Every later release must read what is written here: change `MAGIC` with it.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

MAGIC = b"FBJ1\n\0\0\0"
FRAME = struct.Struct("<II")

# The state of a record.
PENDING, IN_FLIGHT, SETTLED, HELD = 0, 1, 2, 3

Record = tuple[str, int, bytes, bytes]
"""topic, partition, key, value"""


class Accept(msgspec.Struct, array_like=True, tag=1, gc=False):
    """The records of one request. `sequence` numbers the first of them in its journal; the others follow."""

    sequence: int
    accepted_wall_ms: int
    tenant: str
    records: list[Record]


class Settle(msgspec.Struct, array_like=True, tag=2, gc=False):
    """Ranges (first sequence, count) of records that need nothing more."""

    ranges: list[tuple[int, int]]


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Accept | Settle).decode


def frame(entry: Accept | Settle) -> tuple[bytes, bytes]:
    """The header and the payload of an entry, ready for one writev."""
    payload = _pack(entry)
    return FRAME.pack(len(payload), zlib.crc32(payload)), payload


class Segment:
    """An open segment. The journal's lock guards every change of its state."""

    def __init__(self, path: Path, first_sequence: int, fd: int, reserved_bytes: int) -> None:
        self.path = path
        self.fd = fd
        self.first_sequence = first_sequence
        self.reserved_bytes = reserved_bytes
        self.states = bytearray()
        self.size_bytes = len(MAGIC)
        self.unsettled = 0
        self.pending = 0
        self.drained_to_bytes = len(MAGIC)  # before this nothing is pending
        self.is_damaged = False

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
    def open(cls, path: Path, first_sequence: int) -> "Segment":
        """A segment that an earlier process left behind; the caller replays its entries."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        return cls(path, first_sequence, fd, os.fstat(fd).st_size)

    @property
    def is_of_this_format(self) -> bool:
        """Whether it begins as `create` writes it, or died while it did."""
        return MAGIC.startswith(os.pread(self.fd, len(MAGIC), 0).rstrip(b"\0"))

    @property
    def end_sequence(self) -> int:
        """One past the last record."""
        return self.first_sequence + len(self.states)

    def write(self, header: bytes, payload: bytes) -> int:
        """Append one frame and return where it begins. Raises OSError; nothing counts as written then."""
        at, expected = self.size_bytes, len(header) + len(payload)
        written = os.pwritev(self.fd, (header, payload), at)
        if written != expected:
            os.pwrite(self.fd, bytes(FRAME.size), at)
            raise OSError(f"{self.path.name}: wrote {written} of {expected} bytes")
        self.size_bytes += expected
        return at

    def add(self, count: int, state: int) -> None:
        """Room for the states of newly accepted records."""
        self.states += bytes((state,)) * count
        self.unsettled += count
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

    def settle(self, sequence: int, count: int) -> int:
        """Settle a range; the whole range at once where all of it was in flight, which is the common case."""
        at = sequence - self.first_sequence
        if self.states.count(IN_FLIGHT, at, at + count) == count:
            self.states[at : at + count] = bytes((SETTLED,)) * count
            self.unsettled -= count
            return count
        return self.change(sequence, count, SETTLED)

    def read(self, at: int) -> Accept | Settle | None:
        """The entry that begins there; None at the end. Raises DamagedFrame."""
        length, checksum = FRAME.unpack(os.pread(self.fd, FRAME.size, at).ljust(FRAME.size, b"\0"))
        if length == 0:
            return None
        # A damaged length may be anything up to 4 GiB, and pread takes the memory first.
        is_inside = at + FRAME.size + length <= os.fstat(self.fd).st_size
        payload = os.pread(self.fd, length, at + FRAME.size) if is_inside else b""
        if len(payload) != length or zlib.crc32(payload) != checksum:
            raise DamagedFrame(f"{self.path.name}: damaged frame at byte {at}")
        try:
            entry: Accept | Settle = _unpack(payload)
        except msgspec.DecodeError as error:
            raise DamagedFrame(f"{self.path.name}: unreadable frame at byte {at}: {error}") from error
        return entry

    def entries(self, at: int, end: int) -> Iterator[tuple[int, int, Accept | Settle]]:
        """Entries from a byte on: where each begins, where the next would, and itself. Raises DamagedFrame."""
        while at < end:
            entry = self.read(at)
            if entry is None:
                return
            length: int = FRAME.unpack(os.pread(self.fd, FRAME.size, at))[0]
            yield at, at + FRAME.size + length, entry
            at += FRAME.size + length

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
        """Close the file; remove it, or set it aside when part of it could not be read."""
        os.close(self.fd)
        if self.is_damaged:
            self.path.rename(self.path.with_suffix(".damaged"))
        else:
            self.path.unlink()


class DamagedFrame(Exception):
    """A frame whose checksum does not fit: the torn end of a killed process, or a disk that lies."""
