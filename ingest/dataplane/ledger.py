"""The ledger: what became of every event, by tenant and minute of acceptance, as the fold of what a journal says.

Data plane; pure. A journal owns one and changes it under its own lock whenever it writes a frame, so the totals never
say more than the files do. received = accepted + rejected, and accepted = delivered + dropped + dead-lettered +
discarded + pending.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum

import msgspec

MINUTE_MS = 60_000
UNDELIVERABLE = "undeliverable"


class Ending(IntEnum):
    """What became of a record; journals on disk hold the numbers."""

    DELIVERED = 0
    RETRACTED = 1
    DEAD_LETTERED = 2
    DISCARDED = 3


class Account(msgspec.Struct, array_like=True, gc=False):
    """The totals of one tenant and minute in one journal. No field ever falls, so of two reports the larger is newer.

    `retracted` events were journaled, and refused by Kafka while their sender still waited: their sender was told, so
    they are rejected and not accepted."""

    tenant: str
    minute: int
    received: int = 0
    journaled: int = 0
    retracted: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    rejections: dict[str, int] = msgspec.field(default_factory=dict)
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    discarded: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Answered 200 or 202."""
        return self.journaled - self.retracted

    @property
    def rejected(self) -> dict[str, int]:
        """Never accepted, by reason."""
        if not self.retracted:
            return self.rejections
        return self.rejections | {UNDELIVERABLE: self.rejections.get(UNDELIVERABLE, 0) + self.retracted}

    @property
    def pending(self) -> int:
        """Accepted, and nothing has become of it yet."""
        ended = self.delivered + self.dead_lettered + sum(self.dropped.values()) + sum(self.discarded.values())
        return self.accepted - ended

    def accept(self, records: int, rejections: Mapping[str, int], dropped: Mapping[str, int]) -> None:
        """One request was journaled."""
        self.received += records
        self.journaled += records
        if dropped:
            self.received += sum(dropped.values())
            self.journaled += sum(dropped.values())
            _add_all(self.dropped, dropped)
        if rejections:
            self.received += sum(rejections.values())
            _add_all(self.rejections, rejections)

    def settle(self, count: int, ending: Ending, reason: str) -> None:
        """Records came to their end."""
        if ending == Ending.DELIVERED:
            self.delivered += count
        elif ending == Ending.RETRACTED:
            self.retracted += count
        elif ending == Ending.DEAD_LETTERED:
            self.dead_lettered += count
        else:
            _add_all(self.discarded, {reason: count})

    def add(self, other: "Account") -> None:
        """Add another account's totals to this one's."""
        self.received += other.received
        self.journaled += other.journaled
        self.retracted += other.retracted
        self.delivered += other.delivered
        self.dead_lettered += other.dead_lettered
        _add_all(self.rejections, other.rejections)
        _add_all(self.dropped, other.dropped)
        _add_all(self.discarded, other.discarded)

    def become(self, other: "Account") -> None:
        """Take over another account's totals."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(other, name))


class Ledger:
    """The accounts of one journal, whose lock guards every change; `take_changed` may be called by any thread."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, int], Account] = {}
        # By identity: an account is changed with every request, and its name is a tuple that would have to be made.
        self._changed: dict[int, Account] = {}
        self._latest: dict[str, Account] = {}
        self._first_minute = 0

    def account(self, tenant: str, wall_ms: int) -> Account:
        """The account of a tenant in the minute of a wall-clock time; whoever asks is about to change it."""
        minute, latest = wall_ms // MINUTE_MS, self._latest.get(tenant)
        if latest is None or latest.minute != minute:
            latest = self._latest[tenant] = self.at(tenant, minute)
        self._changed[id(latest)] = latest
        return latest

    def at(self, tenant: str, minute: int) -> Account:
        """The account of a tenant and minute. One that was forgotten would begin again at nothing, so what comes that
        late is counted in the first minute that cannot have been."""
        at = (tenant, self.open_minute(minute))
        account = self.accounts.get(at)
        if account is None:
            account = self.accounts[at] = Account(*at)
        self._changed[id(account)] = account
        return account

    def open_minute(self, minute: int) -> int:
        """The minute itself, or the first one after those that were forgotten."""
        return max(minute, self._first_minute)

    def open_wall_ms(self, wall_ms: int) -> int:
        """The time itself, or the first one of an open minute: a replay must count where it was counted."""
        return max(wall_ms, self._first_minute * MINUTE_MS)

    def touch(self, account: Account) -> None:
        """It has changed."""
        self._changed[id(account)] = account

    def restore(self, accounts: Iterable[Account]) -> None:
        """What a checkpoint says holds, whatever was folded before it. Records refer to accounts, so these stay."""
        for account in self.accounts.values():
            account.become(Account(account.tenant, account.minute))
        for saved in accounts:
            self.at(saved.tenant, saved.minute).become(saved)

    def forget_empty(self) -> None:
        """After a replay: accounts of records that a checkpoint has left behind hold nothing."""
        self.accounts = {at: account for at, account in self.accounts.items() if account.received}
        self._changed = {id(account): account for account in self.accounts.values()}

    def take_changed(self) -> list[Account]:
        """Accounts that changed since the last time. They are live: what changes while they are read comes again."""
        changed, self._changed = self._changed, {}
        return list(changed.values())

    def forget(self, accounts: Iterable[Account]) -> None:
        """Accounts that are kept elsewhere for good: those with nothing pending and no change since need not stay.

        The caller holds the journal's lock, and only names minutes that are over."""
        for account in accounts:
            if not account.pending and id(account) not in self._changed:
                self.accounts.pop((account.tenant, account.minute), None)
                self._first_minute = max(self._first_minute, account.minute + 1)
                if self._latest.get(account.tenant) is account:
                    del self._latest[account.tenant]


def _add_all(totals: dict[str, int], more: Mapping[str, int]) -> None:
    """Add counts by reason to counts by reason."""
    for reason, count in more.items():
        totals[reason] = totals.get(reason, 0) + count
