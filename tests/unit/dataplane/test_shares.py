"""One tenant's part of the journal: a fifth, while somebody else wants the rest."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal import Journal
from ingest.dataplane.segments import Record, Segment
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


def test_the_minute_counts_from_when_another_tenant_came_last() -> None:
    shares = Shares(max_bytes=1_000)
    shares.take("bolt", 10, NOW)
    shares.take("bolt", 10, NOW + SHARED_WITHIN_MS - 1)

    assert refused(shares, "acme", 300, NOW + SHARED_WITHIN_MS) == "journal_share_exceeded"


def test_what_is_given_back_can_be_taken_again() -> None:
    shares = Shares(max_bytes=1_000)
    shares.take("bolt", 10, NOW)
    shares.take("acme", 200, NOW)

    shares.give_back("acme", 150)

    assert (shares.taken_bytes["acme"], refused(shares, "acme", 150, NOW)) == (50, "")


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


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acme", "bolt"]), st.integers(0, 5), st.integers(0, 900), st.floats(0, 1, exclude_max=True)
        ),
        max_size=25,
    )
)
def test_a_tenant_takes_what_its_unsettled_records_take_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, float]]
) -> None:
    journal = Journal.create(tmp_path_factory.mktemp("shares"), **SIZES)
    taken: list[tuple[str, Segment, int]] = []

    for tenant, count, value_bytes, share in steps:
        try:
            sent: list[Record] = [("logs", 0, b"k", bytes(value_bytes), 0)] * count
            _, segment, first = journal.append(tenant, NOW, sent)
            taken += [(tenant, segment, first + at) for at in range(count)]
        except Unavailable:
            journal.compact()
        settled = taken[int(share * len(taken)) :][:7]
        journal.settle([(segment, sequence, 1) for _, segment, sequence in settled[:1] * 2 + settled])
        taken = [one for one in taken if one not in settled]

        for name in ("acme", "bolt"):
            sizes = [seg.sizes_bytes[seg.index_of(sequence)] for one, seg, sequence in taken if one == name]
            assert journal.shares.taken_bytes.get(name, 0) == sum(sizes)
    journal.close()


def test_what_a_full_or_failing_disk_refuses_takes_nothing(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, **SIZES)
    _, segment, _ = journal.append("acme", NOW, records(1))
    before = journal.shares.taken_bytes["acme"]

    codes = []
    for sent in ([("logs", 0, b"k", bytes(5_000_000), 0)], records(2)):
        with pytest.raises(Unavailable) as raised:
            journal.append("acme", NOW, sent)
        codes.append(raised.value.code)
        read_only = os.open(segment.path, os.O_RDONLY)
        os.dup2(read_only, segment.fd)
        os.close(read_only)

    assert codes == ["journal_full", "journal_unwritable"]
    assert journal.shares.taken_bytes["acme"] == before
    journal.close()
