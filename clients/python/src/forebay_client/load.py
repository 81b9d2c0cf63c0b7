"""What one request carries, from memory or from the spool. The sender's thread."""

from __future__ import annotations

from collections.abc import Sequence

from forebay_client.buffer import Tracked
from forebay_client.spool import Batch


class Load:
    """Events that go together."""

    def __init__(self, events: Sequence[bytes], stored: Batch | None = None) -> None:
        self.events = list(events)
        self.stored = stored
        """Where they are on the disk; None: they are in memory alone."""

    @property
    def is_tracked(self) -> bool:
        """Whether somebody waits for the result of each event."""
        return isinstance(self.events[0], Tracked)

    @property
    def in_memory(self) -> list[bytes]:
        """The events that count in the buffer."""
        return self.events if self.stored is None else []

    def halves(self) -> tuple[Load, Load]:
        """For a server that takes less at a time."""
        middle = len(self.events) // 2
        first, second = self.events[:middle], self.events[middle:]
        if self.stored is None:
            return Load(first), Load(second)
        end = self.stored.end - sum(len(event) + 1 for event in second)
        stored = self.stored._replace(events=first, end=end), self.stored._replace(events=second)
        return Load(first, stored[0]), Load(second, stored[1])
