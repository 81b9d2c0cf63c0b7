"""What one request carries, from memory or from the spool. The sender's thread."""

from __future__ import annotations

from forebay_client.buffer import Taken, Tracked
from forebay_client.spool import Batch


class Load:
    """Events that go together."""

    def __init__(self, events: Taken | list[bytes], stored: Batch | None = None) -> None:
        self.events = events
        self.stored = stored
        """Where they are on the disk; None: they are in memory alone."""

    @property
    def is_tracked(self) -> bool:
        """Whether somebody waits for the result of each event."""
        return isinstance(self.events[0], Tracked)

    @property
    def in_memory(self) -> Taken | None:
        """The events, if they count in the buffer."""
        return self.events if isinstance(self.events, Taken) else None

    def halves(self) -> tuple[Load, Load]:
        """For a server that takes less at a time."""
        middle = len(self.events) // 2
        first, second = self.events[:middle], self.events[middle:]
        if isinstance(self.events, Taken):
            return Load(Taken(first, self.events.number)), Load(Taken(second, self.events.number))
        assert self.stored is not None  # noqa: S101 - either in memory or on the disk
        end = self.stored.end - sum(len(event) + 1 for event in second)
        stored = self.stored._replace(events=first, end=end), self.stored._replace(events=second)
        return Load(first, stored[0]), Load(second, stored[1])
