"""What was sent against what Kafka holds and what Forebay says: the table that every fault test prints.

The events are told apart by the ids of tests.faults.traffic, source and number.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.consumer import Record, all_of, event_id, read_all, read_records
from tests.faults.accounts import Accounts, accounts_of
from tests.faults.traffic import Sent
from tests.node import Node

COLUMNS = (
    *("sent", "accepted", "delivered", "duplicates", "dead-lettered", "pending", "dropped", "rejected", "unanswered"),
    *("inversions", "to heal", "slowest", "p99", "answers"),
)
_ROW = "{:>8} {:>8} {:>9} {:>10} {:>13} {:>7} {:>7} {:>8} {:>10} {:>10} {:>7} {:>7} {:>8}  {}"


@dataclass(frozen=True)
class Tally:
    """One test's books, by event id."""

    sent: Sent
    records: Sequence[Record]  # as they lie in Kafka, duplicates included
    accounts: Accounts = field(default_factory=Accounts)
    heal_s: float | None = None
    stored: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored", [event_id(record) for record in self.records])

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

    @property
    def discrepancies(self) -> list[str]:
        """Where the three accounts, the senders', the consumer's and the ledger's, differ; empty when all is well."""
        said, found = self.accounts, list(self.accounts.mismatches)
        explained = said.dead_lettered + said.discarded + said.dropped + said.pending
        if len(self.lost) > explained:
            found.append(f"{len(self.lost)} accepted events are not in Kafka, {explained} are accounted for")
        if self.uninvited:
            found.append(f"{len(self.uninvited)} events are in Kafka though nobody accepted them")
        if said.delivered != len(set(self.stored)):
            found.append(f"the ledger says {said.delivered} delivered, the consumer reads {len(set(self.stored))}")
        if said.pending:
            found.append(f"{said.pending} events are still pending")
        return found

    def __str__(self) -> str:
        """The table: a line of names, a line of figures."""
        sent, said = self.sent, self.accounts
        healed = "" if self.heal_s is None else f"{self.heal_s:.1f} s"
        figures = (
            *(len(sent.all), len(sent.accepted), len(set(self.stored)), self.duplicates),
            *(said.dead_lettered, said.pending, said.dropped, len(sent.refused), len(sent.unanswered)),
            *(self.inversions, healed, f"{sent.slowest_s:.2f} s", f"{sent.p99_s * 1000:.0f} ms", dict(sent.codes)),
        )
        return "\n".join(_ROW.format(*map(str, cells)) for cells in (COLUMNS, figures))


def tally(
    sent: Sent,
    bootstrap: str,
    topic: str,
    *,
    node: Node,
    tenant: str = "acme",
    heal_s: float | None = None,
    dead_letters: int = 0,
    deadline_s: float = 60.0,
) -> Tally:
    """Reads until every accepted event is there but the dead letters that the test expects, then asks the node and
    reads all there is until the two agree; prints the table."""
    if sent.accepted:
        read_records(bootstrap, topic, until=all_of(sent.accepted, but=dead_letters), deadline_s=deadline_s)
    records: list[Record] = []

    def delivered() -> int:
        records[:] = read_all(bootstrap, topic)
        return len({event_id(record) for record in records})

    said = accounts_of(node, tenant, delivered)
    books = Tally(sent, records, said, heal_s)
    print(books)
    return books


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
