"""A journal as far as the ledger sees it, which knows the truth beside; for tests of what lies behind the journals."""

from collections.abc import Iterable
from copy import deepcopy

from ingest.dataplane.ledger import MINUTE_MS, Account, Ending, Ledger

MINUTE = 29_000_000


class CountingJournal:
    """Counts as a journal does. `truth` forgets nothing."""

    def __init__(self, name: str = "b7c1e4a0-0000-4000-8000-000000000001") -> None:
        self.name = name
        self.ledger = Ledger()
        self.unsettled = 0
        self.truth: dict[tuple[str, int], Account] = {}

    def accept(self, tenant: str, records: int, *, minute: int = MINUTE, dropped: int = 0, rejected: int = 0) -> None:
        """One request's events."""
        rejections = {"unknown_level": rejected} if rejected else {}
        drops = {"noise": dropped} if dropped else {}
        for account in self._both(tenant, minute):
            account.accept(records, rejections, drops)
        self.unsettled += records

    def settle(self, tenant: str, count: int, ending: Ending = Ending.DELIVERED, *, minute: int = MINUTE) -> None:
        """Some of the records of a minute ended; at most as many as are pending."""
        count = min(count, self.truth[tenant, minute].pending) if (tenant, minute) in self.truth else 0
        if count:
            for account in self._both(tenant, minute):
                account.settle(count, ending, "operator")
            self.unsettled -= count

    def confirm(self, accounts: Iterable[Account]) -> None:
        self.ledger.forget(accounts)

    def adopted(self) -> "CountingJournal":
        """As another process finds it: what was forgotten is in the files still."""
        other = CountingJournal(self.name)
        other.truth, other.unsettled = deepcopy(self.truth), self.unsettled
        other.ledger.restore(deepcopy(list(self.truth.values())))
        return other

    def _both(self, tenant: str, minute: int) -> tuple[Account, Account]:
        true = self.truth.setdefault((tenant, minute), Account(tenant, minute))
        return self.ledger.account(tenant, minute * MINUTE_MS), true
