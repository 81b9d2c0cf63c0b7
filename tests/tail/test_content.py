"""What a file holds, at any offset, however it is packed; and files in other encodings from the disk to the event."""

import gzip
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay_client.tail.content import Content, GzipContent, open_content, same_so_far
from tests.tail.rotations import rename
from tests.tail.world import World, numbered

TEXT = b"".join(b"line %d of the file\n" % number for number in range(40_000))


@contextmanager
def opened(data: bytes) -> Iterator[tuple[Content, Path]]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        path.write_bytes(data)
        content = open_content(str(path))
        try:
            yield content, path
        finally:
            content.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(TEXT) + 10), st.integers(1, 300_000)), max_size=8), st.booleans())
def test_a_packed_file_reads_at_any_offset_like_a_plain_one(reads: list[tuple[int, int]], has_members: bool) -> None:
    middle = len(TEXT) // 3
    packed = gzip.compress(TEXT[:middle]) + gzip.compress(TEXT[middle:]) if has_members else gzip.compress(TEXT)

    with opened(packed) as (content, _):
        assert content.is_compressed
        for offset, size in reads:
            assert content.read(offset, size) == TEXT[offset : offset + size]
        assert content.size_bytes() == len(TEXT)


def test_a_packed_file_is_over_when_all_of_it_was_read_and_not_before() -> None:
    with opened(gzip.compress(TEXT) + b"\0" * 512) as (content, _):
        assert not content.is_over(0)
        assert content.read(0, len(TEXT) + 1) == TEXT
        assert not content.is_over(len(TEXT) - 1)
        assert content.is_over(len(TEXT))


def test_one_that_is_being_written_is_read_as_far_as_it_is() -> None:
    packed = gzip.compress(TEXT)
    with opened(packed[: len(packed) // 2]) as (content, path):
        begun = content.read(0, len(TEXT))
        assert TEXT.startswith(begun)
        assert not content.is_over(len(begun))

        path.write_bytes(packed)

        assert begun + content.read(len(begun), len(TEXT)) == TEXT
        assert content.is_over(len(TEXT))


@pytest.mark.parametrize("begun_bytes", [0, 1, 2, 12])
def test_one_that_was_found_before_a_byte_of_it_was_written_is_text_all_the_same(
    tmp_path: Path, begun_bytes: int
) -> None:
    world = World(tmp_path)
    world.lines(*range(2000))
    world.tailer()
    world.turn_for(5)
    rotated = rename(world.log)
    world.lines(2000)
    world.turn_for(30)
    packed, data = rotated.with_name("app.log.1.gz"), gzip.compress(rotated.read_bytes())

    packed.write_bytes(data[:begun_bytes])
    world.turn_for(5)
    packed.write_bytes(data)
    rotated.unlink()
    world.turn_for(30)

    assert len(world.sink.events) == 2001
    assert world.sink.messages == numbered(*range(2001))


def test_what_text_lies_before_a_damage_is_read() -> None:
    packed = bytearray(gzip.compress(TEXT, 1))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = b"\xff" * 50

    with opened(bytes(packed)) as (content, _):
        found = content.read(0, len(TEXT))

    assert isinstance(content, GzipContent)
    assert len(found) > len(TEXT) // 4
    assert TEXT.startswith(found[: len(TEXT) // 4])
    assert content.damage


@pytest.mark.parametrize(
    ("one", "other", "are_alike"),
    [
        (TEXT, TEXT, True),
        (TEXT, TEXT[:5000], True),
        (TEXT, gzip.compress(TEXT[:5000]), True),
        (TEXT, TEXT[:5000] + b"its own", False),
        (TEXT, b"another beginning\n", False),
        (TEXT[:30], TEXT, True),
    ],
)
def test_the_beginning_of_a_file_is_told_from_another_file(one: bytes, other: bytes, are_alike: bool) -> None:
    with opened(one) as (first, _), opened(other) as (second, _):
        assert same_so_far(first, second) is are_alike
        assert same_so_far(second, first) is are_alike


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_another_encoding_arrives_as_text(tmp_path: Path, encoding: str) -> None:
    world = World(tmp_path, encoding=encoding)
    lines = [f"größe {number}: ünd ÿ" for number in range(500)]
    data = "".join(f"{line}\r\n" for line in lines).encode(encoding)
    world.tailer()
    for at in range(0, len(data), 777):  # with characters cut in two between two writes
        world.write(data[at : at + 777])
        world.turn_for(0.5)

    assert world.sink.messages == lines
    assert len(data[: world.sink.events[1]["metadata"]["offset"]].decode(encoding)) == len(lines[0]) + 2


def test_a_long_line_is_split_or_cut_and_its_events_say_so(tmp_path: Path) -> None:
    world = World(tmp_path, max_line_bytes=1000)
    world.write("x" * 2500 + "\nnext\n")
    world.settle()

    cut = World(tmp_path / "cut", max_line_bytes=1000, long_lines="cut")
    cut.write("x" * 2500 + "\nnext\n")
    cut.settle()

    assert [len(message) for message in world.sink.messages] == [1000, 1000, 500, 4]
    assert [event["metadata"].get("part") for event in world.sink.events] == [0, 1, 2, None]
    assert [len(message) for message in cut.sink.messages] == [1000, 4]
    assert cut.sink.events[0]["metadata"]["cutBytes"] == 1500
