"""What workers and the copy task tell each other about accounts, and how two reports of one account become one.

Pure; shared by the worker's publisher and the control plane. In Redis a journal has a hash of totals that nobody has
copied yet, a hash of those that the database keeps (an answer to the worker), and a field in the hash of all journals
that says how it is. No total ever falls, so the larger of two reports is the newer, field by field.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from ingest.dataplane.ledger import Account

JOURNALS = "forebay:ledger:journals"
CHECK = "forebay:ledger:check"

encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Account] = msgspec.msgpack.Decoder(Account).decode


def totals_key(journal: str) -> str:
    """Hash: account field -> account, of those that are not yet in the database."""
    return f"forebay:ledger:{{{journal}}}:totals"


def kept_key(journal: str) -> str:
    """Hash: account field -> account as the database has it, of those that its worker has not heard of yet."""
    return f"forebay:ledger:{{{journal}}}:kept"


def field(account: Account) -> str:
    """An account's name in both hashes. A tenant's name has no bar in it."""
    return f"{account.tenant}|{account.minute}"


class JournalPhase(StrEnum):
    """OPEN: a worker holds it. CLOSED: it ended by itself, another will adopt it. FINISHED: it is gone, all counted."""

    OPEN = "open"
    CLOSED = "closed"
    FINISHED = "finished"


class Beat(msgspec.Struct, frozen=True):
    """What a worker says of a journal each second. `sequence` grows with every report: whoever finds another one than
    it wrote knows that Redis has lost something. Accounts before `oldest_minute` are not told any more."""

    node: str
    pid: int
    seen_wall_s: float
    unsettled: int
    oldest_minute: int
    sequence: int
    phase: JournalPhase = JournalPhase.OPEN


encode_beat: Callable[[Beat], bytes] = msgspec.json.Encoder().encode
decode_beat: Callable[[bytes], Beat] = msgspec.json.Decoder(Beat).decode


class CheckResult(msgspec.Struct):
    """What the last check found, for metrics and alerts. Only what did not pass for some time is a mismatch."""

    at_wall_s: float
    mismatches: list[str] = msgspec.field(default_factory=list)
    unbalanced_events: int = 0
    missing_worker_pending_events: int = 0
    # Amounts by subject in this check and the ones before: what is new may only be on its way.
    suspicions: dict[str, list[int]] = msgspec.field(default_factory=dict)


encode_check: Callable[[CheckResult], bytes] = msgspec.json.Encoder().encode
decode_check: Callable[[bytes], CheckResult] = msgspec.json.Decoder(CheckResult).decode


def merged(one: Account, other: Account) -> Account:
    """The larger of both in every total."""
    return Account(
        one.tenant,
        one.minute,
        max(one.received, other.received),
        max(one.journaled, other.journaled),
        max(one.retracted, other.retracted),
        max(one.delivered, other.delivered),
        max(one.dead_lettered, other.dead_lettered),
        _larger(one.rejections, other.rejections),
        _larger(one.dropped, other.dropped),
        _larger(one.discarded, other.discarded),
    )


def covers(kept: Account, account: Account) -> bool:
    """Whether nothing of `account` is missing in `kept`."""
    return merged(kept, account) == kept


def _larger(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    if not other:
        return one
    return {reason: max(one.get(reason, 0), other.get(reason, 0)) for reason in one.keys() | other.keys()}
