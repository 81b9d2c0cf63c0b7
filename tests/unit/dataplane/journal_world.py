"""What the tests of the journal have in common: small segments, what is pending in one, its ledger kept elsewhere."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal, Range
from ingest.dataplane.ledger import Account

# Room for a few small requests before the part that is kept for SETTLEs.
SEGMENT_BYTES = SETTLE_RESERVE_BYTES + 4_096
# A segment begins with a checkpoint, for which room is made beside.
CHECKPOINTS_BYTES = 1_024
MAX_BYTES = 4 * SEGMENT_BYTES + CHECKPOINTS_BYTES
SIZES = {"segment_bytes": SEGMENT_BYTES, "max_bytes": MAX_BYTES}


def pending(journal: Journal) -> list[bytes]:
    """The values of what waits, oldest first."""
    found = [accept.records[at] for _, accept, indexes in journal.backlog() for at in indexes]
    return [record[3] for record in found if record is not None]


def pending_sequences(journal: Journal) -> list[int]:
    """The numbers of what waits, oldest first."""
    return [accept.sequence + at for _, accept, indexes in journal.backlog() for at in indexes]


def settle_pending(journal: Journal) -> None:
    """Deliver everything."""
    for segment, accept, indexes in list(journal.backlog()):
        journal.settle([(segment, accept.sequence + at, 1) for at in indexes])


def keep_ledger(journal: Journal) -> None:
    """All accounts of which nothing is pending are kept elsewhere, as the copy task would say."""
    journal.write_counts()
    journal.ledger.take_changed()
    journal.confirm(list(journal.ledger.accounts.values()))


def totals(journal: Journal) -> Account:
    """All accounts as one."""
    total = Account("", 0)
    for account in journal.ledger.accounts.values():
        total.add(account)
    return total


def fill(journal: Journal, value_bytes: int = 500) -> list[Range]:
    """Appends one-record requests until the journal is full."""
    appended = []
    try:
        while True:
            _, segment, sequence = journal.append("acme", 1, [("logs", 0, b"k", bytes(value_bytes), 0)])
            appended.append((segment, sequence, 1))
    except Unavailable:
        return appended


def reopened(journal: Journal) -> Journal:
    """The same directory with its next owner."""
    journal.close()
    return Journal.adopt(journal.directory, **SIZES)


@contextmanager
def full_disk() -> Iterator[None]:
    """No segment can be made, as this process may not write beyond the 64th KiB of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
