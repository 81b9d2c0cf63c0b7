"""How reports become rows: the larger wins field by field, whatever comes twice, late or from two at once."""

import random
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingest.dataplane.ledger import Account, Ending
from ingest.ledger.accounts import decode, merged
from ingest.ledger.copying import BATCH_ACCOUNTS, account_of, keep
from ingest.models import JournalState, LedgerMinute
from tests.ledger_world import MINUTE, CountingJournal

pytestmark = pytest.mark.django_db
JOURNAL = "b7c1e4a0-0000-4000-8000-000000000001"


def kept() -> dict[tuple[str, int], Account]:
    return {(row.tenant, row.minute): account_of(row) for row in LedgerMinute.objects.all()}


def test_reports_in_any_order_and_repeated_end_at_the_truth() -> None:
    journal, reports = CountingJournal(JOURNAL), []
    for number in range(40):
        journal.accept("acme", 3, rejected=number % 2, dropped=1, minute=MINUTE + number % 3)
        journal.settle("acme", 2, list(Ending)[number % 4], minute=MINUTE + number % 3)
        reports.append([decode_copy(account) for account in journal.truth.values()])
    shuffled = random.Random(7).sample(reports * 2, len(reports) * 2)

    for report in shuffled:
        keep(JOURNAL, report)

    assert kept() == journal.truth


def decode_copy(account: Account) -> Account:
    return merged(account, Account(account.tenant, account.minute))


def test_the_answer_is_what_the_table_has_and_not_what_was_told() -> None:
    keep(JOURNAL, [Account("acme", MINUTE, received=5, journaled=5)])

    (answer,) = keep(JOURNAL, [Account("acme", MINUTE, received=3, journaled=3, delivered=2)])

    assert decode(answer) == Account("acme", MINUTE, received=5, journaled=5, delivered=2)


def test_what_follows_from_the_totals_is_kept_beside_them() -> None:
    account = Account("acme", MINUTE, 12, 10, 1, 3, 1, {"unknown_level": 1}, {"noise": 2}, {"operator": 1})

    keep(JOURNAL, [account])

    row = LedgerMinute.objects.get()
    assert (row.dropped_events, row.discarded_events, row.pending, row.unexplained) == (2, 1, 2, 1)
    assert row.at == datetime.fromtimestamp(MINUTE * 60, UTC)


def test_two_journals_keep_their_accounts_apart() -> None:
    keep(JOURNAL, [Account("acme", MINUTE, received=5, journaled=5)])
    keep("another", [Account("acme", MINUTE, received=2, journaled=2)])

    assert sorted(LedgerMinute.objects.values_list("received", flat=True)) == [2, 5]


def test_a_minute_that_went_into_the_hours_does_not_come_back() -> None:
    JournalState.objects.create(journal=JOURNAL, seen_at=datetime.now(UTC), rolled_up_to_minute=MINUTE + 1)

    keep(JOURNAL, [Account("acme", MINUTE, received=5), Account("acme", MINUTE + 1, received=4)])

    assert list(LedgerMinute.objects.values_list("received", flat=True)) == [4]


def test_a_batch_takes_a_bounded_number_of_queries() -> None:
    accounts = [Account(f"tenant-{number}", MINUTE, received=1, journaled=1) for number in range(BATCH_ACCOUNTS)]

    with CaptureQueriesContext(
        connection,
    ) as queries:
        keep(JOURNAL, accounts)

    assert LedgerMinute.objects.count() == BATCH_ACCOUNTS
    assert len(queries) <= 20
