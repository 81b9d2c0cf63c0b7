"""The journal: every accepted event that Kafka has not yet acknowledged, in files that outlive a killed process.

Data plane (ADR 0008). One directory per worker, held by a lock on it; the lane appends ACCEPTs, the poll thread
SETTLEs, the drain reads; one lock of its own guards the state. A segment is unlinked once it and all before it are
settled, for a later segment may hold the SETTLEs of an earlier one.
"""

import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

from ingest.dataplane.errors import Unavailable
from ingest.dataplane.ledger import Account
from ingest.dataplane.segments import (
    IN_FLIGHT,
    MAGIC,
    PENDING,
    SETTLED,
    Accept,
    DamagedFrame,
    Record,
    Segment,
    Settle,
    frame,
)

log = logging.getLogger(__name__)

LOCK_NAME = "lock"
# The end of each segment that only SETTLEs may use, so that a full disk never keeps a journal from shrinking.
SETTLE_RESERVE_BYTES = 1 << 20


Range = tuple[Segment, int, int]
"""Segment, first sequence, count."""

Origin = tuple["Journal", Segment, int, int, Account]
"""Journal, segment, the ACCEPT's first byte in it, its first sequence, the account it is counted in."""


class JournalLocked(Exception):
    """Another process holds this directory."""


class Journal:
    """The journal of one directory, locked by this process for as long as the object lives."""

    def __init__(self, directory: Path, lock_fd: int, *, segment_bytes: int, max_bytes: int) -> None:
        self.directory = directory
        self.name = directory.name
        self.segment_bytes = segment_bytes
        self.max_bytes = max_bytes
        self.damaged_frames = 0
        self._lock = threading.Lock()
        self._lock_fd = lock_fd
        self._segments: list[Segment] = []
        self._next_sequence = 0
        self._next_ordinal = 0

    @classmethod
    def create(cls, root: Path, *, segment_bytes: int, max_bytes: int) -> "Journal":
        """A new, empty directory under `root`. Raises OSError when there is no room for its first segment."""
        directory = root / str(uuid.uuid4())
        directory.mkdir(parents=True)
        journal = cls(directory, _lock_new(directory), segment_bytes=segment_bytes, max_bytes=max_bytes)
        with journal._let_go_on_error():
            journal._add_segment(segment_bytes)
        return journal

    @classmethod
    def adopt(cls, directory: Path, *, segment_bytes: int, max_bytes: int) -> "Journal":
        """Take over what a dead process left. Raises JournalLocked while its owner lives."""
        journal = cls(directory, _lock(directory), segment_bytes=segment_bytes, max_bytes=max_bytes)
        paths = sorted(directory.glob("*.segment"))
        with journal._let_go_on_error():
            for path in paths:
                journal._replay(path, is_last=path == paths[-1])
        return journal

    # --- written by the lane ---

    def append(self, tenant: str, accepted_wall_ms: int, records: list[Record]) -> tuple[Segment, int, int]:
        """Append one request's records as in flight: all of them or none. Returns the segment, the frame's place and
        the first sequence. Raises Unavailable when the journal is full or its disk is. Blocks for one write only."""
        with self._lock:
            if not self._segments:
                raise Unavailable("shutting_down", "This worker is going away; send it again, another will answer")
            sequence = self._next_sequence
            header, payload = frame(Accept(sequence, accepted_wall_ms, tenant, records))
            segment = self._segment_for(len(header) + len(payload))
            try:
                at = segment.write(header, payload)
            except OSError as error:
                raise Unavailable("journal_unwritable", f"The journal cannot be written: {error.strerror}") from error
            segment.add(len(records), IN_FLIGHT)
            self._next_sequence += len(records)
            return segment, at, sequence

    def mark(self, segment: Segment, at: int, sequence: int, indexes: Iterable[int], state: int) -> None:
        """Set the state of records of one ACCEPT: PENDING when they are in nobody's hands, IN_FLIGHT when they are
        librdkafka's, HELD when sending them again is no use."""
        with self._lock:
            for index in indexes:
                segment.change(sequence + index, 1, state)
            if state == PENDING:
                segment.drained_to_bytes = min(segment.drained_to_bytes, at)

    # --- written by the poll thread ---

    def settle(self, settled: list[Range]) -> int:
        """Settle ranges (segment, first sequence, count) with one SETTLE record; returns how many records that settled.

        Without room for the record the ranges are settled in memory only: a crash then sends them again, which is
        allowed, while keeping the segments would fill the disk for good, which is not."""
        merged = _merged(settled)
        with self._lock:
            count = sum(segment.settle(first, size) for segment, first, size in merged)
            header, payload = frame(Settle([(first, size) for _, first, size in merged]))
            try:
                self._settle_segment(len(header) + len(payload)).write(header, payload)
            except OSError:
                log.exception("journal %s: a SETTLE was not written; a crash would send its records again", self.name)
            self._unlink_settled()
            return count

    # --- read by the drain ---

    @property
    def pending(self) -> int:
        """Records that wait for the drain."""
        return sum(segment.pending for segment in tuple(self._segments))

    @property
    def unsettled(self) -> int:
        """Records accepted and not settled."""
        return sum(segment.unsettled for segment in tuple(self._segments))

    @property
    def used_bytes(self) -> int:
        """Bytes appended and still kept."""
        return sum(segment.size_bytes for segment in tuple(self._segments))

    def backlog(self) -> Iterator[tuple[Segment, int, Accept, list[int]]]:
        """Every ACCEPT with pending records, oldest first: its segment, its place, itself, the pending indexes."""
        for segment in tuple(self._segments):
            if not segment.pending:
                continue
            for at, next_at, entry in segment.entries(segment.drained_to_bytes, segment.size_bytes):
                indexes = self._pending_indexes(segment, entry)
                if indexes and isinstance(entry, Accept):
                    yield segment, at, entry, indexes
                self._pass(segment, at, next_at, entry)
                if not segment.pending:
                    break

    def read(self, segment: Segment, at: int) -> Accept:
        """The ACCEPT at a place that `append` returned."""
        entry = segment.read(at)
        assert isinstance(entry, Accept)  # noqa: S101 - a place that append returned holds nothing else
        return entry

    def close(self) -> None:
        """Let go of the directory; remove it when nothing in it is needed. Only once: then it may be another's."""
        with self._lock:
            if self._lock_fd < 0:
                return
            is_needed = any(segment.unsettled for segment in self._segments)
            for segment in self._segments:
                os.close(segment.fd) if is_needed else segment.dispose()
            self._segments.clear()
            if not is_needed:
                self._remove_directory()
            os.close(self._lock_fd)
            self._lock_fd = -1

    # --- inside ---

    @contextmanager
    def _let_go_on_error(self) -> Iterator[None]:
        """A journal that could not be opened must not stay locked: its next adopter may be this very process."""
        try:
            yield
        except BaseException:
            for segment in self._segments:
                os.close(segment.fd)
            os.close(self._lock_fd)
            raise

    def _remove_directory(self) -> None:
        (self.directory / LOCK_NAME).unlink(missing_ok=True)
        try:
            self.directory.rmdir()
        except OSError:
            log.warning("journal %s: its directory is kept, something else is in it", self.name)

    def _pending_indexes(self, segment: Segment, entry: Accept | Settle) -> list[int]:
        if isinstance(entry, Settle):
            return []
        start = entry.sequence - segment.first_sequence
        states = segment.states[start : start + len(entry.records)]
        return [index for index, state in enumerate(states) if state == PENDING]

    def _pass(self, segment: Segment, at: int, next_at: int, entry: Accept | Settle) -> None:
        """The next scan starts behind this entry, unless something in or before it is pending (again)."""
        with self._lock:
            if segment.drained_to_bytes == at and not self._pending_indexes(segment, entry):
                segment.drained_to_bytes = next_at

    def _segment_for(self, frame_bytes: int) -> Segment:
        segment = self._segments[-1]
        if segment.size_bytes + frame_bytes <= self.segment_bytes - SETTLE_RESERVE_BYTES:
            return segment
        reserve_bytes = max(self.segment_bytes, len(MAGIC) + frame_bytes + SETTLE_RESERVE_BYTES)
        # When all is settled the new segment takes the place of the old ones, whatever the bound leaves.
        is_needed = any(segment.unsettled for segment in self._segments)
        kept_bytes = sum(segment.reserved_bytes for segment in self._segments) if is_needed else 0
        if kept_bytes + reserve_bytes > self.max_bytes:
            raise Unavailable(
                "journal_full", "The journal is full: Kafka has not acknowledged what was accepted before"
            )
        try:
            segment = self._add_segment(reserve_bytes)
        except OSError as error:
            raise Unavailable("journal_unwritable", f"The journal has no room: {error.strerror}") from error
        self._unlink_settled()
        return segment

    def _settle_segment(self, frame_bytes: int) -> Segment:
        segment = self._segments[-1]
        if segment.size_bytes + frame_bytes <= segment.reserved_bytes and not segment.is_damaged:
            return segment
        return self._add_segment(max(self.segment_bytes, len(MAGIC) + frame_bytes))

    def _add_segment(self, reserve_bytes: int) -> Segment:
        # The ordinal tells two segments of one sequence apart, the first of which got nothing but SETTLEs.
        path = self.directory / f"{self._next_sequence:020d}-{self._next_ordinal:08d}.segment"
        segment = Segment.create(path, self._next_sequence, reserve_bytes)
        self._next_ordinal += 1
        self._segments.append(segment)
        return segment

    def _unlink_settled(self) -> None:
        while len(self._segments) > 1 and not self._segments[0].unsettled:
            self._segments.pop(0).dispose()

    def _replay(self, path: Path, *, is_last: bool) -> None:
        first_sequence, _, ordinal = path.stem.partition("-")
        segment = Segment.open(path, int(first_sequence))
        self._segments.append(segment)
        self._next_ordinal = int(ordinal) + 1
        self._next_sequence = max(self._next_sequence, segment.first_sequence)
        try:
            if not segment.is_of_this_format:
                raise DamagedFrame(f"{path.name}: not a segment of this format")
            for _, next_at, entry in segment.entries(len(MAGIC), segment.reserved_bytes):
                segment.size_bytes = next_at
                if isinstance(entry, Accept):
                    segment.add(len(entry.records), PENDING)
                    self._next_sequence = segment.end_sequence
                else:
                    self._apply(entry)
        except DamagedFrame as error:
            self._set_aside(segment, is_last=is_last, error=error)

    def _set_aside(self, segment: Segment, *, is_last: bool, error: DamagedFrame) -> None:
        """The torn end of the last segment was never answered with a 202 and is cut; anything else is kept aside."""
        if is_last and segment.is_of_this_format and segment.is_torn_at_end(self.segment_bytes):
            log.warning("journal %s: cut a torn last frame (%s)", self.name, error)
            segment.cut()
            return
        self.damaged_frames += 1
        segment.is_damaged = True
        log.error("journal %s: %s; the file will be set aside", self.name, error)

    def _apply(self, settle: Settle) -> None:
        for first, count in settle.ranges:
            for segment in self._segments:
                start, end = max(first, segment.first_sequence), min(first + count, segment.end_sequence)
                if start < end:
                    segment.change(start, end - start, SETTLED)


def orphans(root: Path) -> list[Path]:
    """Directories under `root` that may hold a journal; adopting one tells whether its owner is dead."""
    return [path for path in sorted(root.iterdir()) if (path / LOCK_NAME).exists()] if root.is_dir() else []


def _lock_new(directory: Path) -> int:
    """The lock of a new directory appears under its name only when it is held, or an adopter could be quicker."""
    path = directory / f"{LOCK_NAME}.new"
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    path.rename(directory / LOCK_NAME)
    return fd


def _lock(directory: Path) -> int:
    fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another adopter may have finished and removed the file between the two calls above.
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass  # the same answer as for a file that is gone
    os.close(fd)
    raise JournalLocked(directory.name)


def _merged(ranges: list[Range]) -> list[Range]:
    """Ranges in order, adjoining ones of a segment as one: a thousand single events become one range."""
    merged: list[Range] = []
    last, end = None, -1
    for segment, first, count in sorted(ranges, key=itemgetter(1)):
        if segment is last and first == end:
            merged[-1] = (segment, merged[-1][1], end + count - merged[-1][1])
        else:
            merged.append((segment, first, count))
        last, end = segment, first + count
    return merged
