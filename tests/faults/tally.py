"""What was sent against what Kafka holds: the five figures that every fault test prints, and what they must prove."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.consumer import Record, read_all, read_records
from tests.faults.traffic import Client, Sent


@dataclass(frozen=True)
class Tally:
    """One test's books, by event id."""

    sent: Sent
    stored: list[str]  # as they lie in Kafka, duplicates included
    records: Sequence[Record]
    pending_events: int

    @property
    def lost(self) -> set[str]:
        """Accepted, and not in Kafka."""
        return set(self.sent.accepted) - set(self.stored)

    @property
    def uninvited(self) -> set[str]:
        """In Kafka, although the sender was told that they were not accepted, or never sent."""
        return set(self.stored) - set(self.sent.accepted) - set(self.sent.unanswered)

    @property
    def duplicates(self) -> int:
        return len(self.stored) - len(set(self.stored))

    @property
    def inversions(self) -> int:
        """First occurrences of an event that lie behind a later event of the same key."""
        return inversions(self.records)

    def __str__(self) -> str:
        sent = self.sent
        return (
            f"sent={len(sent.all)} accepted={len(sent.accepted)} stored={len(set(self.stored))}"
            f" duplicates={self.duplicates} pending={self.pending_events} unanswered={len(sent.unanswered)}"
            f" inversions={self.inversions} slowest={sent.slowest_s:.2f}s answers={dict(sent.codes)}"
        )


def tally(sent: Sent, bootstrap: str, topic: str, *, pending_events: int = 0, deadline_s: float = 60.0) -> Tally:
    """Reads until every accepted event is there, then whatever lies behind it; prints the figures."""
    missing, seen = set(sent.accepted), 0

    def all_there(records: list[Record]) -> bool:
        nonlocal seen
        missing.difference_update(event_id(record) for record in records[seen:])
        seen = len(records)
        return not missing

    if missing:
        read_records(bootstrap, topic, until=all_there, deadline_s=deadline_s)
    records = read_all(bootstrap, topic)
    books = Tally(sent, [event_id(record) for record in records], records, pending_events)
    print(books)
    return books


def event_id(record: Record) -> str:
    return str(json.loads(record.value)["eventId"])


def inversions(records: Sequence[Record]) -> int:
    """By the ids of tests.faults.traffic, source and number. Of duplicates the first counts."""
    highest: dict[str, int] = {}
    seen: set[str] = set()
    count = 0
    for record in records:
        name = event_id(record)
        if name in seen:
            continue
        seen.add(name)
        source, _, number = name.rpartition("/")
        count += int(number) < highest.get(source, -1)
        highest[source] = max(highest.get(source, -1), int(number))
    return count


def partitions_by_key(records: Sequence[Record]) -> Counter[bytes]:
    """In how many partitions each key lies."""
    return Counter(key for key, _ in {(record.key or b"", record.partition) for record in records})


def pending_events(port: int) -> int:
    """What waits in the journals of the worker that answers."""
    with Client(port, "") as client:
        return int(client.get("/api/logs/health").body["journal_pending_events"])


def wait_until_drained(port: int, deadline_s: float = 60.0) -> int:
    """Of a node with one worker; returns what is still pending at the deadline."""
    give_up_s = time.monotonic() + deadline_s
    while (left := pending_events(port)) and time.monotonic() < give_up_s:
        time.sleep(0.1)
    return left
