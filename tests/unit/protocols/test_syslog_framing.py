"""Syslog over a byte stream: both framings, also mixed, in pieces of any size; messages that are too long or cut."""

import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.protocols.syslog_framing import SyslogSplitter

_TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20).map(
    lambda text: f"<13>{text.strip()}".encode()
)


def framed(message: bytes, how: str) -> bytes:
    return b"%d %s" % (len(message), message) if how == "counted" else message + b"\n"


def messages_of(splitter: SyslogSplitter) -> list[bytes]:
    return splitter.ready.take(10_000, 1 << 30)


@given(st.lists(st.tuples(_TEXT, st.sampled_from(["counted", "line"])), max_size=8), st.data())
def test_each_message_may_be_framed_either_way(messages: list[tuple[bytes, str]], data: st.DataObject) -> None:
    text = b"".join(framed(*message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    splitter = SyslogSplitter(max_bytes=100)

    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        splitter.feed(text[begin:end])
    splitter.finish()

    assert messages_of(splitter) == [message for message, _ in messages]
    assert splitter.partial_bytes == 0


def test_a_counted_message_may_hold_line_feeds() -> None:
    splitter = SyslogSplitter(max_bytes=100)

    splitter.feed(b"11 <13>one\ntwo<13>three\n")

    assert messages_of(splitter) == [b"<13>one\ntwo", b"<13>three"]


def test_a_line_that_begins_with_a_number_is_a_line() -> None:
    splitter = SyslogSplitter(max_bytes=100)

    splitter.feed(b"12 monkeys\n2030-01-01 plain\n7\n")

    assert messages_of(splitter) == [b"12 monkeys", b"2030-01-01 plain", b"7"]


@pytest.mark.parametrize("trailer", [b"\n", b"\r\n", b"\0"])
def test_every_trailer_in_use_ends_a_line(trailer: bytes) -> None:
    splitter = SyslogSplitter(max_bytes=100)

    splitter.feed(b"<13>a" + trailer + b"<13>b" + trailer)

    assert messages_of(splitter) == [b"<13>a", b"<13>b"]


@pytest.mark.parametrize("piece_bytes", [1, 7, 1_000])
@pytest.mark.parametrize("how", ["counted", "line"])
def test_of_a_message_that_is_too_long_the_beginning_is_kept(how: str, piece_bytes: int) -> None:
    splitter = SyslogSplitter(max_bytes=20)
    text = framed(b"<13>" + b"x" * 200, how) + framed(b"<13>next", how)

    for at in range(0, len(text), piece_bytes):
        splitter.feed(text[at : at + piece_bytes])

    assert messages_of(splitter) == [b"<13>" + b"x" * 16, b"<13>next"]


def test_a_last_line_needs_no_trailer_and_a_counted_message_that_is_cut_is_no_message() -> None:
    line, counted = SyslogSplitter(max_bytes=100), SyslogSplitter(max_bytes=100)

    line.feed(b"<13>last")
    line.finish()
    counted.feed(b"50 <13>cut")
    counted.finish()

    assert (messages_of(line), line.partial_bytes) == ([b"<13>last"], 0)
    assert messages_of(counted) == []
    assert counted.partial_bytes > 0


def cost_s(pieces: Iterable[bytes], begun: bytes = b"") -> float:
    """CPU that a splitter takes for them, the best of three."""
    costs_s = []
    for _ in range(3):
        splitter = SyslogSplitter(max_bytes=1 << 20)
        splitter.feed(begun)
        began_s = time.process_time()
        for piece in pieces:
            splitter.feed(piece)
        costs_s.append(time.process_time() - began_s)
    return min(costs_s)


@pytest.mark.parametrize("blank", [b"\n", b"\0 "])
def test_a_piece_of_blanks_is_cheaper_than_a_piece_of_messages(blank: bytes) -> None:
    blanks_s, messages_s = (cost_s([text * (65_536 // len(text))]) for text in (blank, b"<13>x\n"))

    print(f"64 KiB of blanks take {blanks_s * 1000:.2f} ms, of short messages {messages_s * 1000:.2f} ms")
    assert blanks_s < messages_s / 5


def test_a_line_in_many_pieces_is_searched_once() -> None:
    short_s, long_s = (cost_s([b"x"] * 2_000, b"<13>" + b"x" * begun_bytes) for begun_bytes in (100, 200_000))

    print(f"2,000 pieces take {short_s * 1000:.2f} ms after 100 bytes, {long_s * 1000:.2f} ms after 200,000")
    assert long_s < short_s * 10
