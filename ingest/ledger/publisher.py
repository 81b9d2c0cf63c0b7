"""Tells Redis each second what the journals of this worker have counted, and the journals what the database keeps.

Worker; runs on its chores thread alone. Totals are absolute, so telling one twice does no harm, and what Redis loses is
told again: an account stays in its journal until the copy task has answered that the database has it.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import redis
from redis.client import Pipeline

from ingest.dataplane import metrics
from ingest.dataplane.ledger import Account, Ledger
from ingest.ledger.accounts import (
    CHECK,
    JOURNALS,
    Beat,
    JournalPhase,
    covers,
    decode,
    decode_beat,
    decode_check,
    encode,
    encode_beat,
    field,
    kept_key,
    totals_key,
)

log = logging.getLogger(__name__)

# As many accounts as go to Redis well within its timeout; what is left goes a second later.
TOLD_AT_ONCE_ACCOUNTS = 5_000
CONFIRM_INTERVAL_S = 10.0
# Whatever went wrong unseen is told again by then.
TELL_ALL_INTERVAL_S = 300.0
# A request may be appended, or counted, some time after its minute; a minute is over for good only then.
OVER_AFTER_MINUTES = 5
MINUTE_S = 60

At = tuple[str, int]


class CountedJournal(Protocol):
    """What the publisher asks of a journal."""

    @property
    def name(self) -> str: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def unsettled(self) -> int: ...

    def confirm(self, accounts: Iterable[Account], /) -> None: ...


class LedgerPublisher:
    """One a worker. `publish` blocks for one round trip to Redis and raises nothing of it."""

    def __init__(
        self,
        client: redis.Redis,
        node: str,
        *,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._redis = client
        self._node = node
        self._now_s, self._wall_s = now_s, wall_s
        self._started_wall_s = wall_s()  # until the first check is heard of, its age counts from here
        self._told: dict[str, _Told] = {}
        self._finished: set[str] = set()

    def publish(self, journals: Sequence[CountedJournal], *, adopted: Collection[str] = ()) -> bool:
        """Tell what has changed and take in what is kept; False when Redis does not answer.

        `adopted` names the journals that take no new events: their accounts need not wait for a minute's end."""
        return self._exchange(journals, adopted, JournalPhase.OPEN)

    def leave(self, journals: Sequence[CountedJournal]) -> bool:
        """The last report of a worker that ends by itself, after its last SETTLE and before it lets its journals go."""
        return self._exchange(journals, {journal.name for journal in journals}, JournalPhase.CLOSED)

    def finish(self, name: str) -> None:
        """This journal's directory is gone: all of it is settled and confirmed. Told with the next report."""
        self._told.pop(name, None)
        self._finished.add(name)

    def _exchange(self, journals: Sequence[CountedJournal], adopted: Collection[str], phase: JournalPhase) -> bool:
        told = [self._told_of(journal) for journal in journals]
        self._told = {one.journal.name: one for one in told}
        finished = set(self._finished)
        pipe = self._redis.pipeline(transaction=True)
        for one in told:
            one.choose()
            one.ask(pipe, self._beat(one, phase))
        for name in finished:
            pipe.hset(JOURNALS, name, encode_beat(self._farewell()))
        pipe.get(CHECK)
        try:
            answers = pipe.execute()
        except redis.RedisError as error:
            log.debug("the ledger is not published, Redis does not answer: %s", error)
            for one in told:
                one.not_answered()
            return False
        for one in told:
            one.take(answers)
            one.confirm(self._now_s(), _minute(self._wall_s()), is_adopted=one.journal.name in adopted)
        self._finished -= finished
        self._show(answers[-1])
        return True

    def _told_of(self, journal: CountedJournal) -> "_Told":
        found = self._told.get(journal.name)
        if found is None or found.journal is not journal:
            found = _Told(journal, int(self._wall_s() * 1000), self._now_s)
        return found

    def _beat(self, one: "_Told", phase: JournalPhase) -> Beat:
        wall_s, accounts = self._wall_s(), list(one.journal.ledger.accounts)
        oldest = min((minute for _, minute in accounts), default=_minute(wall_s) - 1)
        unsettled = one.journal.unsettled
        if phase is JournalPhase.CLOSED and not accounts and not unsettled:
            phase = JournalPhase.FINISHED
        return Beat(self._node, os.getpid(), wall_s, unsettled, oldest, one.sequence + 1, phase)

    def _farewell(self) -> Beat:
        wall_s = self._wall_s()
        sequence = int(wall_s * 1000)
        return Beat(self._node, os.getpid(), wall_s, 0, _minute(wall_s), sequence, JournalPhase.FINISHED)

    def _show(self, checked: bytes | None) -> None:
        unconfirmed = sum(len(one.journal.ledger.accounts) for one in self._told.values())
        metrics.LEDGER_UNCONFIRMED_ACCOUNTS.set(unconfirmed)
        found = decode_check(checked) if checked else None
        at_wall_s = found.at_wall_s if found else self._started_wall_s
        metrics.LEDGER_CHECK_AGE_SECONDS.set(max(0.0, self._wall_s() - at_wall_s))
        if found:
            metrics.LEDGER_UNBALANCED_EVENTS.set(found.unbalanced_events)
            metrics.JOURNAL_MISSING_WORKER_PENDING_EVENTS.set(found.missing_worker_pending_events)


class _Told:
    """What has been told of one journal, and what has been answered."""

    def __init__(self, journal: CountedJournal, sequence: int, now_s: Callable[[], float]) -> None:
        self.journal = journal
        self.sequence = sequence
        self._now_s = now_s
        self._is_known = False
        self._to_tell: dict[At, Account] = {}
        self._telling: dict[At, tuple[Account, bytes]] = {}
        self._kept: dict[At, Account] = {}
        self._confirm_due_s = 0.0
        self._answer_at = 0
        self._tell_all()

    def choose(self) -> None:
        """Which accounts to tell this time, as they are now."""
        if self._now_s() >= self._tell_all_due_s:
            self._tell_all()
        self._to_tell.update((_at(account), account) for account in self.journal.ledger.take_changed())
        # Marked as changed before it was, an account may have been told too early: one more look a second later.
        for at, (account, told) in self._telling.items():
            if encode(account) != told:
                self._to_tell[at] = account
        some = islice(self._to_tell.items(), TOLD_AT_ONCE_ACCOUNTS)
        self._telling = {at: (account, encode(account)) for at, account in some}

    def ask(self, pipe: Pipeline, beat: Beat) -> None:
        """Add this journal's part of the round trip: read what is there, then write what is new."""
        name = self.journal.name
        self._answer_at = len(pipe)
        pipe.hget(JOURNALS, name)
        pipe.hgetall(kept_key(name))
        pipe.delete(kept_key(name))
        pipe.hset(JOURNALS, name, encode_beat(beat))
        if self._telling:
            told = {field(account): text for account, text in self._telling.values()}
            pipe.hset(totals_key(name), mapping=told)  # type: ignore[arg-type]  # bytes are what Redis stores

    def not_answered(self) -> None:
        """It may or may not have been written, and an answer may have been lost with it."""
        self._is_known = False
        self._telling = {}

    def take(self, answers: list[Any]) -> None:
        """What Redis said to `ask`."""
        before, kept = answers[self._answer_at : self._answer_at + 2]
        is_lost = not self._is_known or before is None or decode_beat(before).sequence != self.sequence
        self.sequence += 1
        for at in self._telling:
            del self._to_tell[at]
        if is_lost:
            self._tell_all(except_for=self._telling)
        self._is_known = True
        for text in kept.values():
            account = decode(text)
            self._kept[_at(account)] = account
        if kept:
            self._confirm_due_s = 0.0

    def confirm(self, now_s: float, minute: int, *, is_adopted: bool) -> None:
        """Let the journal forget what the database keeps, once nothing can be added to it."""
        if not self._kept or now_s < self._confirm_due_s:
            return
        self._confirm_due_s = now_s + CONFIRM_INTERVAL_S
        accounts = self.journal.ledger.accounts
        self._kept = {at: kept for at, kept in self._kept.items() if at in accounts}
        over = [kept for (_, at), kept in self._kept.items() if is_adopted or at < minute - OVER_AFTER_MINUTES]
        done = [account for kept in over if (account := accounts.get(_at(kept))) and _is_done(account, kept)]
        if done:
            self.journal.confirm(done)

    def _tell_all(self, except_for: Collection[At] = ()) -> None:
        self._tell_all_due_s = self._now_s() + TELL_ALL_INTERVAL_S
        accounts = list(self.journal.ledger.accounts.values())
        self._to_tell.update((at, account) for account in accounts if (at := _at(account)) not in except_for)


def _is_done(account: Account, kept: Account) -> bool:
    return not account.pending and covers(kept, account)


def _at(account: Account) -> At:
    return account.tenant, account.minute


def _minute(wall_s: float) -> int:
    return int(wall_s) // MINUTE_S
