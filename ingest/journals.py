"""Journals from outside: what is in their directories, for an operator who looks, and how a file is put in line again.

Control plane; the commands' process. It reads what a living worker writes, so what it says is a moment old.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingest.dataplane.journal import Journal
from ingest.dataplane.journal_lock import LOCK_NAME, is_held
from ingest.dataplane.replay import Replayed, replay
from ingest.dataplane.segments import MAGIC, SETTLED, Accept, DamagedFrame, Record, Segment

SET_ASIDE, REQUEUED = ".damaged", ".requeued"


@dataclass
class JournalView:
    """One directory. `events` and `live_bytes` are unsettled ones, by tenant."""

    name: str
    is_held: bool
    segments: int = 0
    used_bytes: int = 0
    events: Counter[str] = field(default_factory=Counter)
    live_bytes: Counter[str] = field(default_factory=Counter)
    oldest_wall_ms: int | None = None
    set_aside: list[str] = field(default_factory=list)

    @property
    def unsettled(self) -> int:
        """Accepted events that Kafka has not acknowledged."""
        return sum(self.events.values())


@dataclass(frozen=True)
class WaitingEvent:
    """One unsettled event."""

    sequence: int
    tenant: str
    accepted_wall_ms: int
    record: Record


class CannotRequeue(Exception):
    """The file is none of a journal's, or nothing in it can be read."""


def directories(root: Path) -> list[Path]:
    """Every journal under `root`, and those that are gone but for a file that was set aside."""
    if not root.is_dir():
        return []
    return [
        path
        for path in sorted(root.iterdir())
        if path.is_dir() and ((path / LOCK_NAME).exists() or any(path.glob(f"*{SET_ASIDE}")))
    ]


def look(directory: Path, segment_bytes: int) -> JournalView:
    """What is in a journal now."""
    view = JournalView(directory.name, is_held(directory))
    view.set_aside = sorted(str(path) for path in directory.glob(f"*{SET_ASIDE}"))
    with _Opened(directory, segment_bytes) as replayed:
        for segment in replayed.segments:
            view.segments += 1
            view.used_bytes += segment.size_bytes
            for start, account, size_bytes in zip(segment.starts, segment.accounts, segment.sizes_bytes, strict=True):
                unsettled = segment.unsettled_of(start)
                view.events[account.tenant] += unsettled
                view.live_bytes[account.tenant] += unsettled * size_bytes
                if unsettled and view.oldest_wall_ms is None:
                    view.oldest_wall_ms = segment.accept_of(start).accepted_wall_ms
    view.events += Counter()  # drops those that have none
    return view


def waiting(directory: Path, segment_bytes: int) -> Iterator[WaitingEvent]:
    """Every unsettled event of a journal, oldest first."""
    with _Opened(directory, segment_bytes) as replayed:
        for segment in replayed.segments:
            for start in segment.starts:
                accept = segment.accept_of(start)
                for index, record in enumerate(accept.records):
                    state = segment.states[accept.sequence + index - segment.first_sequence]
                    if record is not None and state != SETTLED:
                        yield WaitingEvent(accept.sequence + index, accept.tenant, accept.accepted_wall_ms, record)


def requeue(file: Path, root: Path, *, segment_bytes: int) -> tuple[str, int]:
    """Put every event that can be read in a file into a new journal, which the next worker that looks takes over.
    Returns the journal's name and the number of events. Those that were delivered before are sent again under the same
    eventId. Raises CannotRequeue."""
    accepts = list(_readable(file))
    if not accepts:
        raise CannotRequeue(f"nothing in {file} can be read as a journal's segment")
    # Bounds are for what senders bring: this was accepted before, and must not be refused for a tenant's share.
    journal, count = Journal.create(root, segment_bytes=segment_bytes, max_bytes=sys.maxsize), 0
    for accept in accepts:
        records = [record for record in accept.records if record is not None]
        journal.append(accept.tenant, accept.accepted_wall_ms, records, policy_version=accept.policy_version)
        count += len(records)
    journal.sync()
    journal.close()
    if file.suffix == SET_ASIDE:
        file.rename(file.with_suffix(REQUEUED))
    return journal.name, count


def _readable(file: Path) -> Iterator[Accept]:
    segment = Segment.open(file, 0, may_write=False)
    at: int | None = len(MAGIC)
    try:
        while at is not None and at < segment.reserved_bytes:
            try:
                entry, next_at = segment.read(at)
            except DamagedFrame:
                at = segment.next_frame(at)
                continue
            if entry is None:
                return
            if isinstance(entry, Accept):
                yield entry
            at = next_at
    finally:
        os.close(segment.fd)


class _Opened:
    """A replay that changes nothing, and its files closed again."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self._replayed: Replayed = _replay(directory, segment_bytes)

    def __enter__(self) -> Replayed:
        return self._replayed

    def __exit__(self, *_: object) -> None:
        for segment in self._replayed.segments:
            os.close(segment.fd)


def _replay(directory: Path, segment_bytes: int) -> Replayed:
    """Again when a segment went away between being listed and being opened: its worker is alive and settling."""
    while True:
        try:
            return replay(directory, segment_bytes, may_write=False)
        except FileNotFoundError:
            continue
