"""Bytes to lines: what comes out depends on the bytes alone, never on how they were cut into chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_client.tail.lines import CUT, ENCODINGS, SPLIT, Line, LineFramer, encoding_of

LIMIT_BYTES = 16
# Short and long lines, ends of both kinds, characters of one to four bytes, what is no text, holes.
PIECES = ["a", "bc", "wörter", "漢字", "😀", "\r", "\n", "\r\n", "\0\0\0\0", "x" * 40, " ", "é" * 20]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
BYTES = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"\0", b"\xff", b"\xe6\xbc", b"\x80\x80", b"z" * 33])).map(
    b"".join
)
CUTS = st.lists(st.integers(0, 400), max_size=12)
OVERLONG = st.sampled_from([SPLIT, CUT])


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[begin:end] for begin, end in pairwise(edges)]


def framed(data: bytes, cuts: list[int], *, name: str = "utf-8", overlong: str = SPLIT, at: int = 0) -> list[Line]:
    framer = LineFramer(at, ENCODINGS[name], max_line_bytes=LIMIT_BYTES, overlong=overlong)
    return [line for chunk in chunks(data[at:], cuts) for line in framer.feed(chunk)] + framer.finish()


@given(BYTES, CUTS, OVERLONG)
def test_any_chunking_gives_the_same_lines(data: bytes, cuts: list[int], overlong: str) -> None:
    assert framed(data, cuts, overlong=overlong) == framed(data, [], overlong=overlong)


@given(TEXTS, CUTS, OVERLONG, st.sampled_from(["utf-16-le", "utf-16-be"]))
def test_any_chunking_of_two_byte_characters_gives_the_same_lines(
    text: str, cuts: list[int], overlong: str, name: str
) -> None:
    data = text.encode(name)

    assert framed(data, cuts, name=name, overlong=overlong) == framed(data, [], name=name, overlong=overlong)


@given(BYTES, OVERLONG, st.data())
def test_reading_again_from_any_line_gives_the_rest_of_the_lines(
    data: bytes, overlong: str, draw: st.DataObject
) -> None:
    lines = framed(data, [], overlong=overlong)
    if not lines:
        return
    resume = draw.draw(st.sampled_from(lines))[1]

    again = framed(data, [], overlong=overlong, at=resume)

    assert again == [line for line in lines if line[0] >= resume]


@given(TEXTS.map(lambda text: text.replace("\0", "").replace("\r", "")), CUTS, st.sampled_from(sorted(ENCODINGS)))
def test_no_character_is_lost_or_made_up(text: str, cuts: list[int], name: str) -> None:
    data = text.encode(name, "replace")

    lines = framed(data, cuts, name=name)

    assert "".join(line[2] for line in lines) == data.decode(name).replace("\n", "")


def test_a_line_over_the_limit_is_told_in_parts() -> None:
    data = b"short\n" + b"0123456789abcdef" * 2 + b"tail\nnext\n"

    lines = framed(data, [3, 20, 30])

    assert lines == [
        (0, 6, "short", None),
        (6, 6, "0123456789abcdef", {"part": 0, "lineOffset": 6}),
        (22, 6, "0123456789abcdef", {"part": 1, "lineOffset": 6}),
        (38, 43, "tail", {"part": 2, "parts": 3, "lineOffset": 6}),
        (43, 48, "next", None),
    ]


def test_or_cut_and_says_how_much_was_left_out() -> None:
    data = b"0123456789abcdef" + b"x" * 100 + b"\nnext\n"

    lines = framed(data, [50], overlong=CUT)

    assert lines == [(0, 117, "0123456789abcdef", {"cutBytes": 100}), (117, 122, "next", None)]


def test_a_character_is_not_cut_in_two() -> None:
    lines = framed(("x" * 14 + "漢字\n").encode(), [])

    assert [line[2] for line in lines] == ["x" * 14, "漢字"]


@pytest.mark.parametrize("hole_bytes", [1, 15, 16, 17, 1000])
def test_the_hole_that_a_truncated_file_begins_with_is_passed_over(hole_bytes: int) -> None:
    lines = framed(b"\0" * hole_bytes + b"first\nsecond\n", [7, 12])

    assert lines == [(hole_bytes, hole_bytes + 6, "first", None), (hole_bytes + 6, hole_bytes + 13, "second", None)]


def test_what_is_no_text_is_replaced_and_the_offsets_stay_right() -> None:
    lines = framed(b"\xff\xfe bad\nb\xc3\xb6se\n", [])

    assert lines == [(0, 7, "\N{REPLACEMENT CHARACTER}" * 2 + " bad", None), (7, 13, "böse", None)]


def test_a_line_without_an_end_waits_for_it() -> None:
    framer = LineFramer(0, ENCODINGS["utf-8"], max_line_bytes=LIMIT_BYTES)

    assert framer.feed(b"one\ntw") == [(0, 4, "one", None)]
    assert framer.has_rest
    assert framer.feed(b"o\n") == [(4, 8, "two", None)]
    assert not framer.has_rest


def test_memory_is_bounded_by_the_limit_whatever_the_line() -> None:
    for overlong in (SPLIT, CUT):
        framer = LineFramer(0, ENCODINGS["utf-8"], max_line_bytes=LIMIT_BYTES, overlong=overlong)
        for _ in range(100):
            framer.feed(b"y" * 1000)
            assert framer.end - framer.line_start == framer.end  # one line, from the beginning on
            assert len(framer._carry) <= LIMIT_BYTES


@pytest.mark.parametrize(
    ("name", "head", "codec", "mark_bytes"),
    [
        ("utf-8", b"\xef\xbb\xbfa", "utf-8", 3),
        ("utf-8", b"a", "utf-8", 0),
        ("latin-1", b"\xef\xbb\xbfa", "latin-1", 0),
        ("utf-16", b"\xfe\xff\0a", "utf-16-be", 2),
        ("utf-16", b"\xff\xfea\0", "utf-16-le", 2),
        ("utf-16", b"a\0", "utf-16-le", 0),
    ],
)
def test_the_byte_order_mark_is_no_text(name: str, head: bytes, codec: str, mark_bytes: int) -> None:
    encoding, found_bytes = encoding_of(name, head)

    assert (encoding.codec, found_bytes) == (codec, mark_bytes)
