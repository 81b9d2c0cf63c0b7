"""The journal: every accepted event that Kafka has not yet acknowledged, in files that outlive a killed process.

Data plane (ADR 0008). One directory per worker, held by a lock on it; the lane appends ACCEPTs, the poll thread
SETTLEs, the drain reads; one lock of its own guards the state. A segment is unlinked once it is settled and none that
is not settled has a SETTLE in it.
"""

import logging
import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ingest.dataplane import compaction
from ingest.dataplane.disk import SyncFailed, duplicates, sync_files
from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal_lock import lock, lock_new, remove_directory
from ingest.dataplane.ledger import Account, Ending, Ledger
from ingest.dataplane.replay import DAMAGED, lost, replay
from ingest.dataplane.segment_files import SegmentFiles
from ingest.dataplane.segments import (
    IN_FLIGHT,
    MAGIC,
    Accept,
    Counts,
    DamagedFrame,
    Entry,
    Record,
    Segment,
    Settle,
    frame,
    merge,
)
from ingest.dataplane.shares import Shares

log = logging.getLogger(__name__)

# The end of each segment that only SETTLEs may use, so that a full disk never keeps a journal from shrinking.
SETTLE_RESERVE_BYTES = 1 << 20
_NONE: dict[str, int] = {}

Range = tuple[Segment, int, int]
"""Segment, first sequence, count."""

Origin = tuple["Journal", Segment, int]
"""Journal, segment, and the first sequence of an ACCEPT in it."""


class Journal:
    """The journal of one directory, locked by this process for as long as the object lives."""

    def __init__(self, directory: Path, lock_fd: int, *, segment_bytes: int, max_bytes: int) -> None:
        self.directory = directory
        self.name = directory.name
        self.segment_bytes = segment_bytes
        self.max_bytes = max_bytes
        self.damaged_frames = 0
        self.ledger = Ledger()
        # Counts frames; the last ACCEPT was the `appended`th.
        self.written = self.appended = 0
        self._lock = threading.Lock()
        self._lock_fd = lock_fd
        self._segments = SegmentFiles(directory)
        self._next_sequence = 0
        self.shares = Shares(max_bytes)
        self._uncounted: dict[tuple[str, int], Account] = {}

    @classmethod
    def create(cls, root: Path, *, segment_bytes: int, max_bytes: int) -> "Journal":
        """A new, empty directory under `root`. Raises OSError when there is no room for its first segment."""
        directory = root / str(uuid.uuid4())
        directory.mkdir(parents=True)
        try:
            journal = cls(directory, lock_new(directory), segment_bytes=segment_bytes, max_bytes=max_bytes)
        except OSError:
            remove_directory(directory)
            raise
        try:
            journal._add_segment(segment_bytes)
        except OSError:  # it is tried again with each request, and each would leave a directory
            remove_directory(directory)
            journal._let_go()
            raise
        return journal

    @classmethod
    def adopt(cls, directory: Path, *, segment_bytes: int, max_bytes: int) -> "Journal":
        """Take over what a dead process left. Raises JournalLocked while its owner lives, and FileNotFoundError when it
        left nothing: then the directory is removed."""
        journal = cls(directory, lock(directory), segment_bytes=segment_bytes, max_bytes=max_bytes)
        try:
            journal._take_over()
        except BaseException:  # it must not stay locked: its next adopter may be this very process
            journal._let_go()
            raise
        return journal

    # --- written by the lane ---

    def append(
        self,
        tenant: str,
        accepted_wall_ms: int,
        records: list[Record],
        *,
        policy_version: int = 0,
        rejections: Mapping[str, int] = _NONE,
        dropped: Mapping[str, int] = _NONE,
    ) -> Origin:
        """Append one request's records as in flight: all of them or none; and what else became of its events. Raises
        Unavailable when the journal or its disk is full, or the tenant's share of it. Blocks for one write only."""
        with self._lock:
            if not self._segments:
                raise Unavailable("shutting_down", "This worker is going away; send it again, another will answer")
            sequence, count = self._next_sequence, len(records)
            accepted_wall_ms = self.ledger.open_wall_ms(accepted_wall_ms)
            entry = Accept(sequence, accepted_wall_ms, tenant, records, policy_version, rejections, dropped)  # type: ignore[arg-type]  # a list of records is one of records or None
            header, payload = frame(entry)
            frame_bytes = len(header) + len(payload)
            # Whole bytes a record, so that what is taken is what its records give back one by one.
            record_bytes = frame_bytes // (count or 1)
            self.shares.take(tenant, count * record_bytes, accepted_wall_ms)
            try:
                segment = self._segment_for(frame_bytes)
                at = segment.write(header, payload)
            except Unavailable:
                self.shares.give_back(tenant, count * record_bytes)
                raise
            except OSError as error:
                self.shares.give_back(tenant, count * record_bytes)
                raise Unavailable("journal_unwritable", f"The journal cannot be written: {error.strerror}") from error
            account = self.ledger.account(tenant, accepted_wall_ms)
            account.accept(count, rejections, dropped)
            if count:
                segment.add(sequence, at, count, IN_FLIGHT, account, record_bytes)
                self._next_sequence += count
            self.written += 1
            self.appended = self.written
            return self, segment, sequence

    def mark(self, segment: Segment, sequence: int, indexes: Iterable[int], state: int) -> None:
        """Set the state of records of one ACCEPT: PENDING when they are in nobody's hands, IN_FLIGHT when they are
        librdkafka's, HELD when sending them again is no use."""
        with self._lock:
            for index in indexes:
                segment.change(sequence + index, 1, state)

    def count(self, delta: Account) -> None:
        """Add to an account what has no record of its own; written with the next `write_counts`."""
        with self._lock:
            at = (delta.tenant, delta.minute)
            known = self._uncounted.get(at)
            if known is None:
                self._uncounted[at] = delta
            else:
                known.add(delta)

    # --- written by the poll thread ---

    def settle(self, ranges: list[Range], ending: Ending = Ending.DELIVERED, reason: str = "") -> int:
        """Settle ranges with one SETTLE record; returns how many records that settled.

        Without room for the record the ranges are settled in memory only: a crash then sends them again, which is
        allowed, while keeping the segments would fill the disk for good, which is not."""
        with self._lock:
            if not self._segments:
                return 0  # closed: its next owner sends what was not settled
            merged, settled = merge(ranges), Counter[int]()
            accounts: dict[int, Account] = {}
            for segment, first, size in merged:
                for account, count, live_bytes in segment.settle(first, size):
                    accounts[id(account)] = account
                    settled[id(account)] += count
                    self.shares.give_back(account.tenant, live_bytes)
            counts = [(account.tenant, account.minute, settled[at]) for at, account in accounts.items()]
            places = [(first, size) for _, first, size in merged]
            holder = self._write_ending(Settle(places, ending, reason, counts))
            for at, account in accounts.items():
                account.settle(settled[at], ending, reason)
                self.ledger.touch(account)
            if holder is not None:
                for segment, _, _ in merged:
                    if segment is not holder:
                        segment.settled_in.add(holder.ordinal)
            self._segments.remove_settled()
            return settled.total()

    def write_counts(self) -> None:
        """Write and fold what `count` has gathered: a killed process loses what came after the last call."""
        if not self._uncounted:
            return
        with self._lock:
            if not self._segments:
                return  # closed: what is told this late is in no file
            deltas, self._uncounted = list(self._uncounted.values()), {}
            for delta in deltas:  # a replay must find each in the minute in which it is counted now
                delta.minute = self.ledger.open_minute(delta.minute)
            self._write_ending(Counts(deltas))
            for delta in deltas:
                self.ledger.at(delta.tenant, delta.minute).add(delta)

    # --- read by the drain and by others ---

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

    @property
    def is_finished(self) -> bool:
        """Whether nothing of it is needed: every record is settled and every account is kept elsewhere."""
        return not self.unsettled and not self.ledger.accounts and not self._uncounted

    def backlog(self) -> Iterator[tuple[Segment, Accept, list[int]]]:
        """Every ACCEPT with pending records, oldest first: its segment, itself, the pending indexes. One that cannot be
        read is given up."""
        for segment in tuple(self._segments):
            for sequence in tuple(segment.starts) if segment.pending else ():
                if not segment.unsettled_of(sequence):
                    continue
                try:
                    accept = self.read(segment, sequence)
                except DamagedFrame as damage:
                    lost_events = self.give_up_damaged(segment, sequence)
                    log.error("journal %s: %s; %d events are given up", self.name, damage, lost_events)
                    continue
                indexes = segment.pending_of(accept)
                if indexes:
                    yield segment, accept, indexes

    def read(self, segment: Segment, sequence: int) -> Accept:
        """The ACCEPT that holds a record. Raises DamagedFrame."""
        with self._lock:  # the segment may be rewritten meanwhile
            return segment.accept_of(sequence)

    def give_up_damaged(self, segment: Segment, sequence: int) -> int:
        """An ACCEPT cannot be read any more: its records are discarded, and its file is set aside in the end."""
        records = segment.records_of(sequence)
        segment.is_damaged = True
        self.damaged_frames += 1
        return self.settle([(segment, records.start, len(records))], Ending.DISCARDED, DAMAGED)

    def segment_of(self, sequence: int) -> Segment | None:
        """The segment that holds a record; None when it is settled and gone."""
        with self._lock:
            return next((one for one in self._segments if one.first_sequence <= sequence < one.end_sequence), None)

    def minute_of(self, sequence: int | None = None) -> int | None:
        """The minute in which a record was accepted, the oldest unsettled one by default. None when it is gone."""
        with self._lock:
            return self._segments.minute_of(sequence)

    def confirm(self, accounts: Iterable[Account]) -> None:
        """These are kept elsewhere for good, and their minutes are over."""
        with self._lock:
            self.ledger.forget(accounts)

    def compact(self) -> int:
        """Give back the space of what is settled in segments that a few records pin; returns how many that were."""
        done = 0
        for segment in tuple(self._segments[:-1]):
            if compaction.is_worth_rewriting(segment) and not segment.is_damaged:
                done += self._rewrite(segment)
        return done

    def sync(self) -> int:
        """Bring what is written to the disk; returns the count of writes that are surely there. Blocks, so it is
        called outside of the lane lock. Raises SyncFailed: what was in those segments is never taken for synced, and
        another one is begun. OSError when it could not be tried."""
        with self._lock:
            written = self.written
            unsynced = [segment for segment in self._segments if segment.is_unsynced]
            fds = duplicates(segment.fd for segment in unsynced)
            is_new = any(segment.is_new for segment in unsynced)
            for segment in unsynced:
                segment.is_unsynced = segment.is_new = False
        try:
            sync_files(fds, self.directory if is_new else None)
        except OSError as error:
            failed = SyncFailed(error.errno, error.strerror)
            with self._lock:
                for segment in unsynced:
                    segment.end()
                failed.written = self.written
            raise failed from error
        return written

    def close(self) -> None:
        """Let go of the directory; remove it when nothing in it is needed. Only once: then it may be another's."""
        self.write_counts()
        with self._lock:
            if self._lock_fd < 0:
                return
            if self.is_finished:
                for segment in self._segments:
                    segment.dispose()
                self._segments.clear()
                remove_directory(self.directory)
            for segment in self._segments:
                segment.trim()
            self._let_go()

    # --- inside ---

    def _take_over(self) -> None:
        for left in self.directory.glob(f"*{compaction.SUFFIX}"):
            left.unlink()
        replayed = replay(self.directory, self.segment_bytes)
        if not replayed.segments:
            remove_directory(self.directory)
            raise FileNotFoundError(f"{self.directory}: no segment is left in it")
        self._segments += replayed.segments
        self._segments.next_ordinal = replayed.next_ordinal
        self.ledger, self._next_sequence = replayed.ledger, replayed.next_sequence
        self.damaged_frames = replayed.damaged_frames
        if replayed.damaged_frames:
            for delta in lost(replayed):
                self.count(delta)
        if not replayed.begins_with_checkpoint:
            self._add_segment(SETTLE_RESERVE_BYTES)
        self._segments.remove_settled()

    def _let_go(self) -> None:
        for segment in self._segments:
            os.close(segment.fd)
        self._segments.clear()
        os.close(self._lock_fd)
        self._lock_fd = -1

    def _segment_for(self, frame_bytes: int) -> Segment:
        segment = self._segments[-1]
        if segment.size_bytes + frame_bytes <= segment.reserved_bytes - SETTLE_RESERVE_BYTES:
            return segment
        reserve_bytes = max(self.segment_bytes, len(MAGIC) + frame_bytes + SETTLE_RESERVE_BYTES)
        # What is settled goes when the new segment is there, whatever the bound leaves.
        if sum(one.reserved_bytes for one in self._segments.needed()) + reserve_bytes > self.max_bytes:
            raise Unavailable(
                "journal_full", "The journal is full: Kafka has not acknowledged what was accepted before"
            )
        try:
            segment = self._add_segment(reserve_bytes)
        except OSError as error:
            raise Unavailable("journal_unwritable", f"The journal has no room: {error.strerror}") from error
        self._segments.remove_settled()
        return segment

    def _write_ending(self, entry: Entry) -> Segment | None:
        """Write a frame that may use the reserve; returns the segment it is in, None where there was no room."""
        header, payload = frame(entry)
        frame_bytes, segment = len(header) + len(payload), self._segments[-1]
        try:
            if segment.size_bytes + frame_bytes > segment.reserved_bytes or segment.is_damaged:
                segment = self._add_segment(SETTLE_RESERVE_BYTES + frame_bytes)
            segment.write(header, payload)
        except OSError:
            log.exception("journal %s: a SETTLE was not written; a crash would send its records again", self.name)
            return None
        self.written += 1
        return segment

    def _add_segment(self, reserve_bytes: int) -> Segment:
        return self._segments.begin(self._next_sequence, reserve_bytes, self.ledger.accounts.values())

    def _rewrite(self, segment: Segment) -> bool:
        with self._lock:
            if segment not in self._segments:
                return False  # it was settled meanwhile
            self._segments.rewriting = segment
            # What is settled from here on has its SETTLE elsewhere and stays in the new file.
            before, segment.settled_in = segment.settled_in, set()
            older = [one for one in self._segments if one.ordinal < segment.ordinal]
        try:
            new = compaction.rewritten(segment, older)
            with self._lock:
                segment.take_over(new)
            return True
        except (DamagedFrame, OSError) as error:
            # What is damaged stays as it is, until it is settled and set aside.
            segment.is_damaged |= isinstance(error, DamagedFrame)
            log.warning("journal %s: %s cannot be rewritten: %s", self.name, segment.path.name, error)
            with self._lock:
                segment.settled_in |= before
            return False
        finally:
            with self._lock:
                self._segments.rewriting = None
                self._segments.remove_settled()
