"""Counts what becomes of events. Any thread that holds the buffer's `changed`; each method takes it itself."""

from __future__ import annotations

from collections import Counter, defaultdict

from forebay_client.buffer import Buffer
from forebay_client.results import Counters
from forebay_client.spool import Spool
from forebay_client.wire import Outcome


class Ledger:
    """Of one process, beside its buffer, which counts what came in."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._turned_away = 0
        # No Counter for these: for a new key it runs code of Python, where a signal handler may log and count.
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._dropped: defaultdict[str, int] = defaultdict(int)
        self._rejected: Counter[str] = Counter()

    def turned_away(self, reason: str) -> None:
        """An event that never came into the buffer."""
        with self._buffer.changed:
            self._turned_away += 1
            self._dropped[reason] += 1

    def dropped(self, reason: str, events: int) -> None:
        with self._buffer.changed:
            self._dropped[reason] += events

    def answered(self, outcome: Outcome) -> None:
        with self._buffer.changed:
            self._counts["accepted"] += len(outcome.accepted)
            self._rejected.update(rejection.code for rejection in outcome.rejected.values())

    def count(self, **more: int) -> None:
        """By the names of Counters."""
        with self._buffer.changed:
            for name, events in more.items():
                self._counts[name] += events

    def snapshot(self, spool: Spool | None) -> Counters:
        buffer, counts = self._buffer, self._counts
        with buffer.changed:
            dropped = dict(self._dropped)
            if buffer.unencodable:
                dropped["unencodable"] = dropped.get("unencodable", 0) + buffer.unencodable
            return Counters(
                taken=buffer.settled + buffer.events + self._turned_away,
                recovered=counts["recovered"],
                accepted=counts["accepted"],
                rejected=dict(self._rejected),
                dropped=dropped,
                buffered_events=buffer.events,
                buffered_bytes=buffer.held_bytes,
                spooled=counts["spooled"],
                spool_events=spool.events if spool else 0,
                spool_bytes=spool.bytes if spool else 0,
                requests=counts["requests"],
                retries=counts["retries"],
                spool_errors=counts["spool_errors"],
                callback_errors=counts["callback_errors"],
            )
