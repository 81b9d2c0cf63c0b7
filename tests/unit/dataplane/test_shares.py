"""One tenant's part of the journal: a fifth, while somebody else wants the rest."""

from pathlib import Path

import pytest

from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal import Journal
from ingest.dataplane.shares import SHARED_WITHIN_MS, Shares
from tests.unit.dataplane.journal_world import SIZES
from tests.unit.dataplane.world import records

NOW = 1_790_000_000_000


def refused(shares: Shares, tenant: str, more_bytes: int, wall_ms: int) -> str:
    try:
        shares.take(tenant, more_bytes, wall_ms)
    except Unavailable as error:
        return error.code
    return ""


def test_a_tenant_alone_may_have_all_of_it() -> None:
    shares = Shares(max_bytes=1_000)

    assert refused(shares, "acme", 900, NOW) == ""


def test_beside_another_tenant_a_fifth_is_all() -> None:
    shares = Shares(max_bytes=1_000)
    shares.take("bolt", 10, NOW)

    assert [refused(shares, "acme", 200, NOW), refused(shares, "acme", 1, NOW)] == ["", "journal_share_exceeded"]
    assert refused(shares, "bolt", 100, NOW) == ""


def test_a_minute_after_the_others_were_last_heard_of_the_share_binds_no_more() -> None:
    shares = Shares(max_bytes=1_000)
    shares.take("bolt", 10, NOW)

    just_before, after = NOW + SHARED_WITHIN_MS - 1, NOW + SHARED_WITHIN_MS

    assert refused(shares, "acme", 300, just_before) == "journal_share_exceeded"
    assert refused(shares, "acme", 300, after) == ""


def test_what_is_given_back_can_be_taken_again() -> None:
    shares = Shares(max_bytes=1_000)
    shares.take("bolt", 10, NOW)
    shares.take("acme", 200, NOW)

    shares.give_back("acme", 150)

    assert (shares.bytes_of("acme"), refused(shares, "acme", 150, NOW)) == (50, "")


def test_over_its_share_one_tenant_is_refused_and_the_others_notice_nothing(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    journal.append("bolt", NOW, records(1))
    big = [("logs", 0, b"k", bytes(700_000), 0)]
    _, segment, sequence = journal.append("acme", NOW, big)

    with pytest.raises(Unavailable) as raised:
        journal.append("acme", NOW, big)
    journal.append("bolt", NOW, records(1))
    journal.settle([(segment, sequence, 1)])
    journal.append("acme", NOW, big)

    assert raised.value.code == "journal_share_exceeded"
    assert journal.unsettled == 3
    journal.close()
