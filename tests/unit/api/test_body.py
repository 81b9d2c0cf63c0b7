"""A body is read in bounded steps, whole or not at all, whatever its length says and however it is compressed."""

import gzip
import io
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.api.body import STEP_BYTES, BodyBudget, decompress, discard, read
from ingest.dataplane.errors import BadRequest, Refused, TooLarge, Unavailable, UnsupportedMedia

LIMIT = 100_000
MIB = 1 << 20


class Stream(io.BytesIO):
    """wsgi.input, which notes how much is asked of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.asked: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.asked.append(size)
        return super().read(size)


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as raised:
        call()
    return raised.value


# --- reading ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, LIMIT])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_up_to_the_limit_is_read_whole(size: int, is_chunked: bool) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)

    assert read(Stream(content), "" if is_chunked else str(size), LIMIT) == content


def test_a_body_over_the_limit_by_its_length_is_not_begun() -> None:
    stream = Stream(bytes(LIMIT + 1))

    error = refusal(lambda: read(stream, str(LIMIT + 1), LIMIT))

    assert isinstance(error, TooLarge)
    assert (error.code, error.extra) == ("body_too_large", {"limit": LIMIT})
    assert stream.asked == []


def test_a_chunked_body_over_the_limit_is_given_up_after_one_byte_more() -> None:
    stream = Stream(bytes(10 * LIMIT))

    error = refusal(lambda: read(stream, "", LIMIT))

    assert error.code == "body_too_large"
    assert stream.tell() == LIMIT + 1
    assert max(stream.asked) <= STEP_BYTES


@pytest.mark.parametrize("length", [10, STEP_BYTES, LIMIT])
def test_a_body_shorter_than_its_length_is_refused(length: int) -> None:
    error = refusal(lambda: read(Stream(bytes(length - 1)), str(length), LIMIT))

    assert isinstance(error, BadRequest)
    assert error.code == "incomplete_body"
    assert f"{length - 1} of {length}" in error.detail


@pytest.mark.parametrize("length", ["x", "-1", "+5", "1.5", "0x10", " 5", "5 ", "1e3", "٣", "²"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert refusal(lambda: read(Stream(b"12345"), length, LIMIT)).code == "incomplete_body"


@pytest.mark.parametrize("digits", [18, 19, 100, 5_000])
def test_a_length_of_any_number_of_digits_is_too_large(digits: int) -> None:
    assert refusal(lambda: read(Stream(b""), "9" * digits, LIMIT)).code == "body_too_large"


# --- a body nobody wants ---------------------------------------------------------------------------------------------
def test_the_small_body_of_a_throttled_sender_is_taken_and_the_budget_given_back() -> None:
    stream, budget = Stream(bytes(1_000)), BodyBudget(threads=2)

    discard(stream, "1000", budget, "acme")

    assert stream.tell() == 1_000
    budget.take("acme")


@pytest.mark.parametrize("length", ["", "x", "-5", str(STEP_BYTES + 1), "9" * 5_000])
def test_a_large_or_endless_body_of_a_throttled_sender_is_left(length: str) -> None:
    stream = Stream(bytes(STEP_BYTES + 1))

    discard(stream, length, BodyBudget(threads=2), "acme")

    assert stream.asked == []


def test_beyond_its_budget_a_throttled_sender_holds_no_thread() -> None:
    stream, budget = Stream(b"12345"), BodyBudget(threads=2)
    budget.take("acme")

    discard(stream, "5", budget, "acme")

    assert stream.asked == []


# --- compression -----------------------------------------------------------------------------------------------------
def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def streamed_zstd(content: bytes) -> bytes:
    """A frame that does not say how long its content is, with a checksum."""
    packer = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compressobj()
    return packer.compress(content) + packer.flush()


CODECS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.compress),
    ("zstd", streamed_zstd),
]
codecs = pytest.mark.parametrize(
    ("encoding", "compress"), CODECS, ids=["gzip", "x-gzip", "zlib", "raw deflate", "zstd", "streamed zstd"]
)
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"


@codecs
@given(content=st.binary(max_size=3_000))
def test_what_was_compressed_comes_back(encoding: str, compress: Callable[[bytes], bytes], content: bytes) -> None:
    assert decompress(compress(content), encoding, LIMIT) == content


@codecs
def test_the_limit_is_that_of_the_decompressed_body(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    assert len(decompress(compress(bytes(LIMIT)), encoding, LIMIT)) == LIMIT
    assert refusal(lambda: decompress(compress(bytes(LIMIT + 1)), encoding, LIMIT)).code == "body_too_large"


@codecs
def test_a_body_cut_short_anywhere_is_refused(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(b'{"source":"checkout","level":"INFO","message":"paid"}')

    for size in range(1, len(whole)):
        assert refusal(lambda size=size: decompress(whole[:size], encoding, LIMIT)).status == 400  # type: ignore[misc]


@codecs
@pytest.mark.parametrize("garbage", [b"x", b"garbage", b"\0", b"\0" * 100, b'{"source":1}'])
def test_what_follows_the_end_is_not_dropped_in_silence(
    encoding: str, compress: Callable[[bytes], bytes], garbage: bytes
) -> None:
    error = refusal(lambda: decompress(compress(b"event") + garbage, encoding, LIMIT))

    assert error.code == "malformed_compression"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize(
    "body", [b"x", b"not compressed at all", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x9c", bytes(40)]
)
def test_what_is_not_compressed_as_it_says_is_refused(encoding: str, body: bytes) -> None:
    assert refusal(lambda: decompress(body, encoding, LIMIT)).code == "malformed_compression"


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_members_one_after_the_other_are_one_body(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    parts = [b"a" * 70_000, b"", b"b", b"c" * 20_000]

    assert decompress(b"".join(map(compress, parts)), encoding, LIMIT) == b"".join(parts)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_the_limit_holds_over_all_members(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    body = compress(bytes(LIMIT // 2)) * 2

    assert len(decompress(body, encoding, LIMIT)) == LIMIT
    assert refusal(lambda: decompress(body + compress(b"x"), encoding, LIMIT)).code == "body_too_large"


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_a_second_member_cut_short_is_refused(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    second = compress(b"second")

    for size in range(1, len(second)):
        body = compress(b"first") + second[:size]
        assert refusal(lambda body=body: decompress(body, encoding, LIMIT)).status == 400  # type: ignore[misc]


def test_a_skippable_frame_is_skipped() -> None:
    assert decompress(SKIPPABLE + zstandard.compress(b"event") + SKIPPABLE, "zstd", LIMIT) == b"event"


@pytest.mark.parametrize("encoding", ["", "identity", "IDENTITY", " identity "])
def test_no_encoding_leaves_the_body_as_it_is(encoding: str) -> None:
    assert decompress(b"\x1f\x8b as it is", encoding, LIMIT) == b"\x1f\x8b as it is"


@pytest.mark.parametrize("encoding", ["GZIP", " gzip", "Gzip "])
def test_an_encodings_case_does_not_matter(encoding: str) -> None:
    assert decompress(gzip.compress(b"event"), encoding, LIMIT) == b"event"


@pytest.mark.parametrize("encoding", ["br", "snappy", "gzip, gzip", "compress", "x" * 10_000, "gz\xefp"])
def test_an_unknown_encoding_is_refused_with_the_known_ones(encoding: str) -> None:
    error = refusal(lambda: decompress(b"event", encoding, LIMIT))

    assert isinstance(error, UnsupportedMedia)
    assert (error.status, error.code) == (415, "unsupported_encoding")
    assert all(known in error.detail for known in ("gzip", "deflate", "zstd"))
    assert len(error.detail) < 200


# --- bombs -----------------------------------------------------------------------------------------------------------
def with_window(log2_bytes: int, *, declared: bool) -> Callable[[bytes], bytes]:
    """zstd at its fastest with a window that the decoder has to make room for."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log2_bytes, write_content_size=declared)
    packer = zstandard.ZstdCompressor(compression_params=parameters)

    def compress(content: bytes) -> bytes:
        if declared:
            return packer.compress(content)
        stream = packer.compressobj()
        return stream.compress(content) + stream.flush()

    return compress


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.compress),
        ("zstd", with_window(23, declared=False)),
        ("zstd", with_window(27, declared=True)),
    ],
    ids=["gzip", "deflate", "zstd", "zstd without a length", "zstd with a window of 128 MiB"],
)
def test_a_bomb_is_refused_within_bounded_memory(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    body, limit = compress(bytes(50 * MIB)), 8 * MIB
    tracemalloc.start()

    error = refusal(lambda: decompress(body, encoding, limit))

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "body_too_large"
    assert peak_bytes < 3 * limit


def test_a_frame_that_wants_a_window_of_128_mib_does_not_get_it() -> None:
    body = with_window(27, declared=False)(b"event")

    error = refusal(lambda: decompress(body, "zstd", LIMIT))

    assert error.code == "malformed_compression"
    assert "too much memory" in error.detail


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_a_body_of_countless_empty_members_costs_little(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    body = compress(b"") * 400_000
    began_s = time.process_time()

    error = refusal(lambda: decompress(body, encoding, 8 * MIB))

    assert error.code == "malformed_compression"
    assert "10000" in error.detail
    # Looked at one by one, each with a copy of the rest, they would take minutes.
    assert time.process_time() - began_s < 5


# --- the budget ------------------------------------------------------------------------------------------------------
def test_half_of_the_threads_read_bodies_of_one_tenant() -> None:
    budget = BodyBudget(threads=8)
    for _ in range(4):
        budget.take("acme")

    error = refusal(lambda: budget.take("acme"))

    assert isinstance(error, Unavailable)
    assert error.code == "too_many_bodies"
    budget.take("bolt")


def test_a_body_that_is_read_makes_room_for_the_next() -> None:
    budget = BodyBudget(threads=2)
    budget.take("acme")

    budget.give_back("acme")

    budget.take("acme")


def test_the_smallest_worker_reads_one_body() -> None:
    budget = BodyBudget(threads=1)

    budget.take("acme")

    assert refusal(lambda: budget.take("acme")).code == "too_many_bodies"
