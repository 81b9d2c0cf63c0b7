"""Copies the accounts that the workers have told Redis into the database, and answers which it keeps.

Control plane; the copy task and `manage.py ledger_check` run it, several at once if it comes to that. An answer is
given and a total leaves Redis only after the commit; the row of the journal is locked meanwhile, so of two that copy at
once neither writes over what the other has just read.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

import redis
from django.db import transaction
from django.utils import timezone

from ingest.dataplane.ledger import Account
from ingest.ledger import lost
from ingest.ledger.accounts import (
    JOURNALS,
    Beat,
    JournalPhase,
    decode,
    decode_beat,
    encode,
    kept_key,
    merged,
    totals_key,
)
from ingest.models import JournalState, LedgerMinute, LedgerTotals

# SQLite takes 999 parameters a query; a batch needs at most two for each account.
BATCH_ACCOUNTS = 400
# A worker that has not fetched an answer in this time tells its accounts again.
KEPT_FOR_S = 3600
# Told again meanwhile: then the newer total stays for the next time.
_ANSWER = """
for i = 1, #ARGV, 3 do
    if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
end
"""
_FORGET = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""
TOTALS = ("received", "journaled", "retracted", "delivered", "dead_lettered", "rejections", "dropped", "discarded")
DERIVED = ("dropped_events", "discarded_events", "pending", "unexplained")

Told = list[tuple[bytes, bytes]]
"""Fields and values of a hash of totals."""


def copy_all(client: redis.Redis) -> int:
    """Copy everything; returns how many accounts that were. Raises RedisError and DatabaseError: nothing is lost then,
    and whoever comes next goes on."""
    journals = cast(list[bytes], client.hkeys(JOURNALS))
    return sum(_copy_journal(client, journal.decode()) for journal in journals)


def _copy_journal(client: redis.Redis, journal: str) -> int:
    copied = 0
    for told in _batches(client, journal):
        kept = keep(journal, [decode(text) for _, text in told])
        answers = [part for (name, text), account in zip(told, kept, strict=True) for part in (name, text, account)]
        client.eval(_ANSWER, 2, totals_key(journal), kept_key(journal), *answers)
        client.expire(kept_key(journal), KEPT_FOR_S)
        copied += len(told)
    # Read after the totals: what is known of a journal is never older than what is known of its accounts.
    text = cast(bytes | None, client.hget(JOURNALS, journal))
    if text is not None:
        _keep_state(client, journal, text)
    return copied


def _batches(client: redis.Redis, journal: str) -> Iterator[Told]:
    cursor = 0
    while True:
        cursor, found = client.hscan(totals_key(journal), cursor, count=BATCH_ACCOUNTS)
        told = list(cast(dict[bytes, bytes], found).items())
        yield from (told[first : first + BATCH_ACCOUNTS] for first in range(0, len(told), BATCH_ACCOUNTS))
        if not cursor:
            return


@transaction.atomic
def keep(journal: str, accounts: list[Account]) -> list[bytes]:
    """Raise the rows to these totals; returns what is kept of each, encoded."""
    state = lock_state(journal)
    rows = LedgerMinute.objects.filter(
        journal=journal,
        tenant__in={account.tenant for account in accounts},
        minute__in={account.minute for account in accounts},
    )
    found = {(row.tenant, row.minute): account_of(row) for row in rows}
    kept, raised = [], []
    for account in accounts:
        before = found.get((account.tenant, account.minute))
        after = merged(before, account) if before else account
        kept.append(encode(after))
        # What went into the hours was over and confirmed; an adopted journal may tell of it again.
        if after != before and account.minute >= state.rolled_up_to_minute:
            raised.append(row_of(journal, after))
    LedgerMinute.objects.bulk_create(
        raised,
        update_conflicts=True,
        unique_fields=["journal", "tenant", "minute"],
        update_fields=[*TOTALS, *DERIVED, "updated_at"],
    )
    return kept


def lock_state(journal: str) -> JournalState:
    """The row of a journal, made if it is not there, and locked until the transaction ends."""
    rows = JournalState.objects.select_for_update().filter(journal=journal)
    state = rows.first()
    if state is None:
        new = JournalState(journal=journal, seen_at=timezone.now())
        JournalState.objects.bulk_create([new], ignore_conflicts=True)
        state = rows.get()
    return state


def _keep_state(client: redis.Redis, journal: str, text: bytes) -> None:
    beat = decode_beat(text)
    is_finished = beat.phase is JournalPhase.FINISHED and not client.hlen(totals_key(journal))
    with transaction.atomic():
        _take_in(lock_state(journal), beat, is_finished=is_finished)
    if is_finished:
        client.eval(_FORGET, 1, JOURNALS, journal, text)
        client.delete(kept_key(journal))


def _take_in(state: JournalState, beat: Beat, *, is_finished: bool) -> None:
    seen_at = datetime.fromtimestamp(beat.seen_wall_s, UTC)
    # A row is made with our own time and no node: any worker's word is newer than that.
    if state.node and seen_at <= state.seen_at and not is_finished:
        return
    state.node, state.pid, state.unsettled = beat.node, beat.pid, beat.unsettled
    state.seen_at, state.oldest_minute = seen_at, beat.oldest_minute
    state.is_closed = beat.phase is not JournalPhase.OPEN
    state.finished_at = seen_at if is_finished else None
    if state.given_up_by:
        lost.take_back(state)
    state.save()


def account_of(row: LedgerTotals) -> Account:
    """A row as the data plane has it."""
    return Account(row.tenant, row.minute, *(getattr(row, total) for total in TOTALS))


def row_of(journal: str, account: Account) -> LedgerMinute:
    """The other way around."""
    row = LedgerMinute(journal=journal, tenant=account.tenant, minute=account.minute, updated_at=timezone.now())
    derive(row, account)
    return row


def derive(row: LedgerTotals, account: Account) -> None:
    """Give a row an account's totals, and what follows from them."""
    for total in TOTALS:
        setattr(row, total, getattr(account, total))
    row.dropped_events = sum(account.dropped.values())
    row.discarded_events = sum(account.discarded.values())
    row.pending = account.pending
    row.unexplained = account.received - account.journaled - sum(account.rejections.values())
