"""Two reports of one account become one, whatever their order."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.ledger import Account
from ingest.ledger.accounts import covers, decode, encode, merged

COUNTS = st.integers(0, 1_000)
REASONS = st.dictionaries(st.sampled_from(["noise", "sampled", "unknown_level"]), COUNTS)
ACCOUNTS = st.builds(
    Account,
    tenant=st.just("acme"),
    minute=st.just(29_000_000),
    received=COUNTS,
    journaled=COUNTS,
    retracted=COUNTS,
    delivered=COUNTS,
    dead_lettered=COUNTS,
    rejections=REASONS,
    dropped=REASONS,
    discarded=REASONS,
)


@given(ACCOUNTS, ACCOUNTS, ACCOUNTS)
def test_the_order_of_reports_makes_no_difference(one: Account, two: Account, three: Account) -> None:
    forward = merged(merged(one, two), three)
    backward = merged(three, merged(two, one))

    assert forward == backward
    assert merged(forward, two) == forward


@given(ACCOUNTS, ACCOUNTS)
def test_what_is_merged_covers_both_and_a_larger_report_is_not_covered(one: Account, two: Account) -> None:
    both = merged(one, two)
    larger = merged(both, Account("acme", 29_000_000, rejections={"unknown_level": 1_001}))

    assert covers(both, one)
    assert covers(both, two)
    assert not covers(both, larger)


@given(ACCOUNTS)
def test_an_account_survives_the_way_through_redis(account: Account) -> None:
    assert decode(encode(account)) == account
