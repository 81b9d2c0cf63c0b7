"""The files of one journal: its segments, begun when there is more to write and removed when nothing needs them.

Data plane. The journal's lock guards every change.
"""

from collections.abc import Iterable
from pathlib import Path

from ingest.dataplane.ledger import Account
from ingest.dataplane.segments import Checkpoint, Segment, frame


class SegmentFiles(list[Segment]):
    """Oldest first; the last one is written. `rewriting` stays, whatever is settled meanwhile."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.next_ordinal = 0
        self.rewriting: Segment | None = None
        self._directory = directory

    def begin(self, first_sequence: int, reserve_bytes: int, accounts: Iterable[Account]) -> Segment:
        """A new one with a checkpoint, and so much room behind it. Raises OSError."""
        # The ordinal tells two segments of one sequence apart, the first of which got nothing but SETTLEs. None is used
        # twice, for a failure may leave something under its name.
        ordinal, self.next_ordinal = self.next_ordinal, self.next_ordinal + 1
        path = self._directory / f"{first_sequence:020d}-{ordinal:08d}.segment"
        header, payload = frame(Checkpoint(list(accounts)))
        segment = Segment.create(path, first_sequence, reserve_bytes + len(header) + len(payload))
        try:
            segment.write(header, payload)
        except OSError:
            segment.dispose()
            raise
        self.append(segment)
        return segment

    def needed(self) -> list[Segment]:
        """Those with unsettled records, and those whose SETTLEs such a one needs."""
        unsettled = [one for one in self if one.unsettled]
        ordinals = {ordinal for one in unsettled for ordinal in one.settled_in}
        return [one for one in self if one.unsettled or one.ordinal in ordinals]

    def minute_of(self, sequence: int | None) -> int | None:
        """The minute in which a record was accepted, the oldest unsettled one by default. None when it is gone."""
        for segment in self:
            at = segment.first_unsettled() if sequence is None else sequence
            if at is not None and segment.first_sequence <= at < segment.end_sequence and segment.accounts:
                return segment.accounts[segment.index_of(at)].minute
        return None

    def remove_settled(self) -> None:
        """Remove what nothing needs; the last one stays."""
        if len(self) == 1 or all(one.unsettled for one in self[:-1]):
            return
        needed = {*self.needed(), self[-1], self.rewriting}
        settled = [one for one in self if one not in needed]
        self[:] = [one for one in self if one in needed]
        for segment in settled:
            segment.dispose()
