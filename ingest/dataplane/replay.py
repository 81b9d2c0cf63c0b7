"""What a journal's files say: segments with the state of every record, and the ledger they fold to.

Data plane. Runs when a directory is adopted, before anybody else can see it; and for an operator who only looks.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingest.dataplane.ledger import Account, Ledger
from ingest.dataplane.segments import (
    MAGIC,
    PENDING,
    SETTLED,
    Accept,
    Counts,
    DamagedFrame,
    Segment,
    Settle,
)

log = logging.getLogger(__name__)

DAMAGED = "damaged_journal"
"""Why an event is given up whose frame cannot be read: the ledger's word for it."""


@dataclass
class Replayed:
    """A journal as its files tell it. `ledger` is the newest checkpoint and what was written after it."""

    segments: list[Segment] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    next_sequence: int = 0
    next_ordinal: int = 0
    damaged_frames: int = 0
    begins_with_checkpoint: bool = True


def ordinal_of(path: Path) -> int:
    """The second part of a segment's name, which tells two of one first sequence apart."""
    try:
        return int(path.stem.partition("-")[2])
    except ValueError as error:
        raise ValueError(f"{path.name} is no segment of a journal; move it elsewhere") from error


def segment_paths(directory: Path) -> list[Path]:
    """A journal's segments, oldest first. Their order is that of their ordinals: a rewritten one keeps its name."""
    return sorted(directory.glob("*.segment"), key=ordinal_of)


def replay(directory: Path, segment_bytes: int, *, may_write: bool = True) -> Replayed:
    """Read all segments of a directory. With `may_write` a torn end is cut off, which only its owner
    may do; without, nothing is changed, and a live worker may go on writing."""
    replayed = Replayed()
    paths = segment_paths(directory)
    try:
        for path in paths:
            segment = Segment.open(path, int(path.stem.partition("-")[0]), may_write=may_write)
            replayed.segments.append(segment)
            replayed.next_ordinal = ordinal_of(path) + 1
            replayed.next_sequence = max(replayed.next_sequence, segment.first_sequence)
            _replay_segment(replayed, segment, segment_bytes, ends=path == paths[-1], may_write=may_write)
    except BaseException:
        for segment in replayed.segments:
            os.close(segment.fd)
        raise
    replayed.ledger.forget_empty()
    return replayed


def lost(replayed: Replayed) -> list[Account]:
    """What accounts say is pending and no segment holds: it was in frames that cannot be read. As counts to add."""
    held: Counter[int] = Counter()
    for segment in replayed.segments:
        for start, account in zip(segment.starts, segment.accounts, strict=True):
            held[id(account)] += segment.unsettled_of(start)
    return [
        Account(account.tenant, account.minute, discarded={DAMAGED: missing})
        for account in replayed.ledger.accounts.values()
        if (missing := account.pending - held[id(account)]) > 0
    ]


def _replay_segment(replayed: Replayed, segment: Segment, segment_bytes: int, *, ends: bool, may_write: bool) -> None:
    replayed.begins_with_checkpoint = False
    at: int | None = len(MAGIC)
    while at is not None:
        try:
            if not segment.is_of_this_format:
                raise DamagedFrame(f"{segment.path.name}: not a segment of this format")
            _read_on(replayed, segment, at)
            return
        except DamagedFrame as error:
            name = segment.path.parent.name
            # The torn end of the last segment was never answered with a 202; anything else is kept aside.
            if ends and segment.is_of_this_format and segment.is_torn_at_end(segment_bytes):
                log.warning("journal %s: a torn last frame (%s)", name, error)
                if may_write:
                    segment.cut()
                return
            replayed.damaged_frames += 1
            segment.is_damaged = True
            log.error("journal %s: %s; the file will be set aside", name, error)
            at = segment.next_frame(segment.size_bytes) if segment.is_of_this_format else None


def _read_on(replayed: Replayed, segment: Segment, at: int) -> None:
    """From a byte to the end, or to the next damaged frame."""
    while at < segment.reserved_bytes:
        entry, next_at = segment.read(at)
        if entry is None:
            return
        segment.size_bytes = next_at
        if isinstance(entry, Accept):
            _accept(replayed, segment, entry, at, next_at - at)
        elif isinstance(entry, Settle):
            _settle(replayed, segment, entry)
        elif isinstance(entry, Counts):
            for account in entry.accounts:
                replayed.ledger.at(account.tenant, account.minute).add(account)
        else:
            replayed.ledger.restore(entry.accounts)
            replayed.begins_with_checkpoint = at == len(MAGIC)
        at = next_at


def _accept(replayed: Replayed, segment: Segment, accept: Accept, at: int, frame_bytes: int) -> None:
    account = replayed.ledger.account(accept.tenant, accept.accepted_wall_ms)
    account.accept(len(accept.records), accept.rejections, accept.dropped)
    record_bytes = frame_bytes // max(1, len(accept.records))
    segment.add(accept.sequence, at, len(accept.records), PENDING, account, record_bytes)
    for index, record in enumerate(accept.records):
        if record is None:
            segment.change(accept.sequence + index, 1, SETTLED)
    replayed.next_sequence = max(replayed.next_sequence, segment.end_sequence)


def _settle(replayed: Replayed, holder: Segment, settle: Settle) -> None:
    for first, count in settle.ranges:
        for segment in overlapping(replayed.segments, first, count):
            start, end = max(first, segment.first_sequence), min(first + count, segment.end_sequence)
            for _ in segment.settle(start, end - start):
                pass  # their accounts are told below, those of segments that are gone too
            if segment is not holder:
                segment.settled_in.add(holder.ordinal)
    for tenant, minute, settled in settle.counts:
        replayed.ledger.at(tenant, minute).settle(settled, settle.ending, settle.reason)


def overlapping(segments: Iterable[Segment], first: int, count: int) -> list[Segment]:
    """The segments that hold some of a range of records."""
    return [one for one in segments if first < one.end_sequence and first + count > one.first_sequence]
