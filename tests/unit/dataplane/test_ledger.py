"""The ledger adds up whatever becomes of events, and forgets nothing that is not kept elsewhere."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.journal import Journal
from ingest.dataplane.ledger import MINUTE_MS, UNDELIVERABLE, Account, Ending, Ledger
from tests.unit.dataplane.journal_world import SIZES, keep_ledger, pending, settle_pending
from tests.unit.dataplane.world import records

MINUTE = 29_833_334
WALL_MS = MINUTE * MINUTE_MS


def kept(ledger: Ledger) -> None:
    """The database has all of it."""
    ledger.take_changed()
    ledger.forget(list(ledger.accounts.values()))


def delivered(ledger: Ledger, minute: int, count: int = 1) -> Account:
    account = ledger.at("acme", minute)
    account.accept(count, {}, {})
    account.settle(count, Ending.DELIVERED, "")
    return account


def said(journal: Journal) -> dict[tuple[str, int], Account]:
    return {at: account for at, account in journal.ledger.accounts.items() if account.received}


# --- one account -----------------------------------------------------------------------------------------------------
COUNTS = st.integers(0, 50)
REASONS = st.dictionaries(st.sampled_from(["noise", "unknown_level", UNDELIVERABLE]), COUNTS)


@given(
    st.lists(st.tuples(COUNTS, REASONS, REASONS)),
    st.lists(st.tuples(COUNTS, st.sampled_from(Ending), st.sampled_from(["cleared", "retention"]))),
)
def test_received_is_accepted_and_rejected_and_accepted_is_what_it_became(
    requests: list[tuple[int, dict[str, int], dict[str, int]]], ends: list[tuple[int, Ending, str]]
) -> None:
    account = Account("acme", MINUTE)

    for request in requests:
        account.accept(*request)
    left = sum(count for count, _, _ in requests)
    for count, ending, reason in ends:
        account.settle(min(count, left), ending, reason)
        left -= min(count, left)

    ended = account.delivered + account.dead_lettered + sum(account.dropped.values()) + sum(account.discarded.values())
    assert account.received == account.accepted + sum(account.rejected.values())
    assert account.accepted == ended + account.pending
    assert account.pending == left


def test_what_is_refused_while_its_sender_waits_is_rejected_and_not_accepted() -> None:
    account = Account("acme", MINUTE)
    account.accept(5, {UNDELIVERABLE: 1, "unknown_level": 2}, {})

    account.settle(2, Ending.RETRACTED, "")

    assert (account.received, account.accepted, account.pending) == (8, 3, 3)
    assert account.rejected == {UNDELIVERABLE: 3, "unknown_level": 2}
    assert account.rejections == {UNDELIVERABLE: 1, "unknown_level": 2}


def test_no_figure_ever_falls_so_that_the_larger_report_is_the_newer() -> None:
    account = Account("acme", MINUTE)
    account.accept(3, {"unknown_level": 1}, {"noise": 1})
    before = (account.received, account.journaled, account.delivered, account.retracted)

    account.settle(1, Ending.RETRACTED, "")
    account.settle(2, Ending.DELIVERED, "")

    after = (account.received, account.journaled, account.delivered, account.retracted)
    assert all(late >= early for early, late in zip(before, after, strict=True))


# --- forgetting ------------------------------------------------------------------------------------------------------
def test_what_is_pending_or_has_changed_is_not_forgotten() -> None:
    ledger = Ledger()
    ledger.at("acme", MINUTE).accept(1, {}, {})
    done, changed = delivered(ledger, MINUTE + 1), delivered(ledger, MINUTE + 2)
    ledger.take_changed()
    ledger.touch(changed)

    ledger.forget(list(ledger.accounts.values()))

    assert done not in ledger.accounts.values()
    assert sorted(minute for _, minute in ledger.accounts) == [MINUTE, MINUTE + 2]


def test_what_comes_for_a_forgotten_minute_is_counted_in_the_next_one() -> None:
    ledger = Ledger()
    delivered(ledger, MINUTE, 7)
    kept(ledger)

    late = ledger.account("acme", WALL_MS)
    late.accept(1, {}, {})

    assert late.minute == MINUTE + 1
    assert ledger.open_minute(MINUTE - 1) == ledger.open_minute(MINUTE) == MINUTE + 1
    assert list(ledger.accounts) == [("acme", MINUTE + 1)]


def test_an_account_that_was_forgotten_is_not_the_latest_any_more() -> None:
    ledger = Ledger()
    gone = ledger.account("acme", WALL_MS)
    gone.accept(1, {}, {})
    gone.settle(1, Ending.DELIVERED, "")
    kept(ledger)

    assert ledger.account("acme", WALL_MS) is not gone


def test_a_change_while_it_is_told_is_told_again() -> None:
    ledger = Ledger()
    account = delivered(ledger, MINUTE)
    (first,) = ledger.take_changed()

    ledger.touch(account)

    assert first is account
    assert ledger.take_changed() == [account]
    assert ledger.take_changed() == []


def test_records_keep_their_account_when_a_checkpoint_replaces_its_totals() -> None:
    ledger = Ledger()
    account, gone = ledger.at("acme", MINUTE), delivered(ledger, MINUTE + 1)

    ledger.restore([Account("acme", MINUTE, received=9, journaled=9)])

    assert ledger.at("acme", MINUTE) is account
    assert (account.received, account.pending, gone.received) == (9, 9, 0)
    ledger.forget_empty()
    assert list(ledger.accounts) == [("acme", MINUTE)]


# --- what the next owner of a journal finds --------------------------------------------------------------------------
def test_the_next_owner_counts_in_the_same_minutes_though_a_clock_went_back(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    journal.append("acme", WALL_MS, records(2))
    settle_all(journal)
    keep_ledger(journal)

    _, segment, sequence = journal.append("acme", WALL_MS, records(3))
    journal.count(Account("acme", MINUTE, received=1, rejections={"unknown_level": 1}))
    journal.settle([(segment, sequence, 1)])
    journal.write_counts()
    expected = said(journal)
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert list(expected) == [("acme", MINUTE + 1)]
    assert said(adopted)["acme", MINUTE + 1] == expected["acme", MINUTE + 1]
    assert said(adopted)["acme", MINUTE].received == 2
    assert len(pending(adopted)) == 2
    settle_pending(adopted)
    keep_ledger(adopted)
    assert adopted.is_finished
    adopted.close()


def test_what_was_forgotten_before_the_last_checkpoint_does_not_come_back(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    journal.append("acme", WALL_MS, records(1))
    _, segment, sequence = journal.append("bolt", WALL_MS, records(1))
    journal.settle([(segment, sequence, 1)])
    keep_ledger(journal)
    journal.append("acme", WALL_MS + MINUTE_MS, [("logs", 0, b"k", bytes(5_000), 0)])  # needs a segment of its own
    expected = said(journal)

    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)

    assert [tenant for tenant, _ in expected] == ["acme", "acme"]
    assert adopted.ledger.accounts == expected
    adopted.close()


def settle_all(journal: Journal) -> None:
    for segment in tuple(journal._segments):
        if segment.states:
            journal.settle([(segment, segment.first_sequence, len(segment.states))])
