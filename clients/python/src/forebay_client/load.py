"""What one request carries, from memory or from the spool, and what is known about it so far. The sender's thread."""

from __future__ import annotations

from collections.abc import Sequence

from forebay_client import spool
from forebay_client.buffer import Item


class Load:
    """Events that go together; `attempts` requests were made for them."""

    def __init__(self, items: Sequence[Item], stored: spool.Batch | None = None) -> None:
        self.items = list(items)
        self.stored = stored
        """Where they are on the disk; None: they are in memory alone."""
        self.attempts = 0
        self.events = [item.data for item in self.items] if stored is None else stored.events

    @property
    def is_tracked(self) -> bool:
        """Whether somebody waits for the result of each event."""
        return bool(self.items) and self.items[0].callback is not None

    def halves(self) -> tuple[Load, Load]:
        """For a server that takes less at a time."""
        middle = len(self.events) // 2
        if self.stored is None:
            return Load(self.items[:middle]), Load(self.items[middle:])
        first, second = self.events[:middle], self.events[middle:]
        end = self.stored.end - sum(len(event) + 1 for event in second)
        return Load((), self.stored._replace(events=first, end=end)), Load((), self.stored._replace(events=second))
