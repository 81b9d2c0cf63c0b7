"""Streams taken apart: lines from pieces of any size, events with lasting ids, a line that is too long."""

import sys
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest.protocols import ndjson
from ingest.protocols.ndjson import LineSplitter

EVENT = b'{"source":"s","level":"INFO","message":"m"}'


def all_of(splitter: LineSplitter) -> list[bytes]:
    return splitter.ready.take(10_000, 1 << 30)


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_come_out_as_they_went_in_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    text = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    splitter = LineSplitter(max_bytes=100)

    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        splitter.feed(text[begin:end])
    splitter.finish()

    assert all_of(splitter) == [line for line in lines if line and not line.isspace()]


def test_a_line_over_the_limit_is_not_kept_and_keeps_its_place() -> None:
    splitter = LineSplitter(max_bytes=len(EVENT))

    splitter.feed(EVENT + b"\n" + b"x" * 500)
    splitter.feed(b"x" * 500 + b"\n" + EVENT + b"\n")
    lines = all_of(splitter)
    decoded = ndjson.decode_lines(lines, 7, ndjson.event_ids("acme", "s"), len(EVENT))

    assert lines == [EVENT, ndjson.TOO_LONG, EVENT]
    assert [(index, error.code) for index, error in decoded.rejected.items()] == [(1, "event_too_large")]
    assert list(decoded.indexes) == [0, 2]


def test_empty_lines_are_not_looked_at_one_by_one() -> None:
    calls = []

    def count(frame: Any, kind: str, argument: Any) -> None:
        calls.append(kind)

    splitter = LineSplitter(max_bytes=100)
    sys.setprofile(count)
    try:
        splitter.feed(b"a" + b"\n" * 65_536 + b"b\n")
    finally:
        sys.setprofile(None)

    assert all_of(splitter) == [b"a", b"b"]
    assert len(calls) < 100


def test_a_null_that_was_sent_is_not_taken_for_a_long_line() -> None:
    splitter = LineSplitter(max_bytes=100)
    splitter.feed(b"null\n")

    decoded = ndjson.decode_lines(all_of(splitter), 1, ndjson.event_ids("acme", "s"), 100)

    assert decoded.rejected[0].code == "not_an_object"


def test_what_has_come_of_a_line_is_told_until_it_is_whole() -> None:
    splitter = LineSplitter(max_bytes=100)

    splitter.feed(b"ab")
    first = splitter.partial_bytes
    splitter.feed(b"c\n")

    assert (first, splitter.partial_bytes) == (2, 0)


def test_a_window_is_bounded_by_number_and_by_bytes() -> None:
    splitter = LineSplitter(max_bytes=100)
    splitter.feed(b"aaaa\nbbbb\ncccc\n" + b"d" * 50 + b"\n")

    taken = [splitter.ready.take(2, 100), splitter.ready.take(9, 10), splitter.ready.take(9, 10)]

    assert taken == [[b"aaaa", b"bbbb"], [b"cccc"], [b"d" * 50]]
    assert (len(splitter.ready), splitter.ready.size_bytes) == (0, 0)


def test_ids_are_the_same_for_the_same_sequence_and_differ_otherwise() -> None:
    ids = ndjson.event_ids("acme", "s")

    again, other_stream, other_tenant = (
        ndjson.event_ids("acme", "s"),
        ndjson.event_ids("acme", "t"),
        ndjson.event_ids("bolt", "s"),
    )

    assert ids(17) == again(17)
    assert len({ids(17), ids(18), other_stream(17), other_tenant(17)}) == 4
    assert (UUID(ids(17)).version, UUID(ids(17)).node) == (8, 17)


def test_an_event_that_has_an_id_keeps_it() -> None:
    lines = [EVENT[:-1] + b',"eventId":"mine"}', EVENT]

    decoded = ndjson.decode_lines(lines, 5, ndjson.event_ids("acme", "s"), 1_000)

    assert [event.event_id for event in decoded.events] == ["mine", ndjson.event_ids("acme", "s")(6)]
