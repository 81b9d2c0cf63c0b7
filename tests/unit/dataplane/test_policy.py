"""The snapshot's file: everything comes back as it went in, anything less is refused, and nobody waits for it long."""

import gc
import itertools
import struct
import threading
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.partitioning import Partitioning
from ingest.dataplane.policy import (
    SLICE,
    KeyPolicy,
    RulePolicy,
    SnapshotFormatError,
    TenantPolicy,
    TopicPolicy,
    dump,
    load,
    read_header,
)
from tenants.quotas import Quota
from tests.unit.dataplane.world import ACME_KEY, BOLT_KEY, header, key, tenant

names = st.text(min_size=1, max_size=20)
counts = st.integers(0, 1 << 40)
quotas = st.builds(Quota, *[counts] * 6)
tenants = st.lists(
    st.builds(TenantPolicy, names, st.booleans(), st.sampled_from(["async", "ack"]), quotas),
    max_size=5,
    unique_by=lambda made: made.name,
)
rules = st.lists(
    st.builds(
        RulePolicy,
        name=names,
        tenants=st.lists(names, max_size=2).map(tuple),
        source_glob=st.text(max_size=5),
        levels=st.lists(names, max_size=2).map(tuple),
        metadata_field=st.text(max_size=5),
        metadata_glob=st.text(max_size=5),
        topic=names,
        partitioning=st.sampled_from(Partitioning),
        key=st.lists(names, max_size=3).map(tuple),
        delivery=st.text(max_size=5),
        keep_ratio=st.floats(0, 1),
        drop_reason=st.text(max_size=5),
    ),
    max_size=3,
)
keys = st.lists(
    st.builds(
        KeyPolicy,
        digest=st.binary(min_size=32, max_size=32),
        key_id=counts,
        tenant=names,
        scopes=st.frozensets(names, max_size=2),
        expires_wall_s=st.none() | st.floats(0, 1e10),
        revoked=st.booleans(),
        allowed_networks=st.lists(st.sampled_from(["10.0.0.0/8", "::1/128"]), max_size=2).map(tuple),
        quota=quotas,
    ),
    max_size=5,
    unique_by=lambda made: made.digest,
)


@given(tenants, keys, rules)
def test_a_snapshot_comes_back_as_it_went_in(
    sent_tenants: list[TenantPolicy], sent_keys: list[KeyPolicy], sent_rules: list[RulePolicy]
) -> None:
    head = header(7, sent_tenants, sent_keys, rules=tuple(sent_rules), topics=(TopicPolicy("logs", 12, 1 << 20),))

    found = load(dump(head, sent_tenants, sent_keys))

    assert found.header == head
    assert found.tenants == {made.name: made for made in sent_tenants}
    assert found.keys == {made.digest: made for made in sent_keys}
    assert found.topics == {"logs": TopicPolicy("logs", 12, 1 << 20)}


def test_a_file_from_before_rules_had_versions_is_read() -> None:
    older = msgspec.to_builtins(header(1, [], []))
    del older["rules_version"]
    packed = msgspec.msgpack.encode(older)

    assert load(struct.pack("<I", len(packed)) + packed).header.rules_version == 0


def test_slices_hold_everything_at_their_edges() -> None:
    for count in (0, 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE):
        made = [tenant(f"t-{number}") for number in range(count)]

        assert len(load(dump(header(1, made, []), made, [])).tenants) == count


def test_a_snapshot_that_is_cut_short_anywhere_is_refused() -> None:
    sent_tenants, sent_keys = [tenant("acme"), tenant("bolt")], [key(ACME_KEY, "acme", 1), key(BOLT_KEY, "bolt", 2)]
    blob = dump(header(7, sent_tenants, sent_keys), sent_tenants, sent_keys)

    for size in range(len(blob)):
        with pytest.raises(SnapshotFormatError):
            load(blob[:size])
    assert load(blob).header.version == 7


@given(st.binary(max_size=300))
def test_bytes_that_are_no_snapshot_are_refused(blob: bytes) -> None:
    for read in (load, read_header):
        with pytest.raises(SnapshotFormatError):
            read(blob)


def test_a_snapshot_of_another_format_is_refused() -> None:
    blob = dump(header(7, [], [], format=1), [], [])

    with pytest.raises(SnapshotFormatError):
        load(blob)


def test_the_header_alone_tells_which_snapshot_is_newer() -> None:
    made = [tenant("acme")]

    assert read_header(dump(header(7, made, []), made, [])[:400]).version == 7


def test_ten_thousand_tenants_are_taken_in_while_another_thread_works() -> None:
    made = [tenant(f"tenant-{number}", quota=Quota(1_000, 2_000, 1 << 20)) for number in range(10_000)]
    sent = [
        key(f"fb_{number:08d}_" + "k" * 43, f"tenant-{number}", number, allowed_networks=("10.0.0.0/8",))
        for number in range(10_000)
    ]
    blob = dump(header(1, made, sent), made, sent)
    del made, sent
    stop, gaps_s, turns = threading.Event(), [0.0], itertools.count()

    def work() -> None:
        last_s = time.perf_counter()
        while not stop.is_set():
            now_s = time.perf_counter()
            gaps_s[0] = max(gaps_s[0], now_s - last_s)
            last_s = now_s
            next(turns)

    worker = threading.Thread(target=work)
    gc.collect()
    worker.start()
    began_s, before = time.perf_counter(), next(turns)
    found = load(blob)
    took_s, during = time.perf_counter() - began_s, next(turns) - before
    stop.set()
    worker.join()

    print(f"{len(blob)} bytes in {took_s * 1000:.0f} ms; the other thread's longest wait: {gaps_s[0] * 1000:.1f} ms")
    assert len(found.tenants) == len(found.keys) == 10_000
    # With the interpreter held throughout there would be no turn in between, and a wait as long as the decoding.
    assert during > 20
    assert gaps_s[0] < max(took_s / 2, 0.05)
