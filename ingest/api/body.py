"""A request's body: read in steps, decompressed, both capped, so that no body can take more memory than it is allowed.

HTTP side of the event path; request threads, outside of the lane lock, for a sender may pause in the middle.
"""

import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from ingest.dataplane.errors import BadRequest, TooLarge, Unavailable, UnsupportedMedia

STEP_BYTES = 64 * 1024
_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15
# RFC 8878 asks decoders for 8 MiB; a frame that wants more is refused before the memory is taken.
_ZSTD_WINDOW_BYTES = 8 << 20
_ZSTD_SKIPPABLE = 0x184D2A50
# One for each event that a request may hold; far more would cost time in which nothing comes out.
_MOST_MEMBERS = 10_000
# More digits than any limit has, fewer than int() refuses.
_LENGTH_DIGITS = 18


class Stream(Protocol):
    """wsgi.input, as far as it is used here."""

    def read(self, size: int, /) -> bytes: ...


class BodyBudget:
    """At most half of a worker's threads read bodies of one tenant, so that slow senders leave room for the others."""

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads // 2)
        self._reading: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, tenant: str) -> None:
        """Before a body is read; `give_back` is owed then. Raises Unavailable."""
        with self._lock:
            reading = self._reading.get(tenant, 0)
            if reading >= self._most:
                raise Unavailable("too_many_bodies", "Too many requests of this tenant are still sending their bodies")
            self._reading[tenant] = reading + 1

    def give_back(self, tenant: str) -> None:
        """The body is read."""
        with self._lock:
            self._reading[tenant] -= 1


def read(stream: Stream, content_length: str, max_bytes: int) -> bytes:
    """The raw body. A chunked one has no length and must come from wsgi.input. Raises TooLarge, BadRequest."""
    if not content_length:
        return b"".join(_steps(stream, max_bytes))
    if not content_length.isascii() or not content_length.isdigit():
        raise BadRequest("incomplete_body", "Content-Length is not a number")
    if len(content_length) > _LENGTH_DIGITS or (length := int(content_length)) > max_bytes:
        raise too_large(max_bytes)
    body = stream.read(length) if length <= STEP_BYTES else b"".join(_steps(stream, length))
    if len(body) < length:
        raise BadRequest("incomplete_body", f"The body ended after {len(body)} of {length} bytes")
    return body


def discard(stream: Stream, content_length: str, budget: BodyBudget, tenant: str) -> None:
    """Take a small body whose request was throttled before it was read.

    The server closes a connection of whose body it has not seen the end, and the sender's next request would find a
    closed door: one in five did. Only for senders with a key, within their budget: whoever pauses here holds a thread.
    """
    if not content_length.isdigit() or len(content_length) > _LENGTH_DIGITS or int(content_length) > STEP_BYTES:
        return
    try:
        budget.take(tenant)
    except Unavailable:
        return
    try:
        stream.read(int(content_length))
    finally:
        budget.give_back(tenant)


def _steps(stream: Stream, max_bytes: int) -> Iterator[bytes]:
    left = max_bytes
    # An empty read is the end; one byte over the limit is read, to tell a full body from a larger one.
    while step := stream.read(min(STEP_BYTES, left + 1)):
        left -= len(step)
        if left < 0:
            raise too_large(max_bytes)
        yield step


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body as its events were written. Raises UnsupportedMedia, TooLarge, BadRequest."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    decode = _DECODERS.get(encoding)
    if decode is None:
        known = ", ".join(_DECODERS)
        raise UnsupportedMedia("unsupported_encoding", f"Content-Encoding {encoding[:40]!r} is none of {known}")
    try:
        decoded = decode(body, max_bytes + 1)
    except (zlib.error, zstandard.ZstdError, ValueError) as error:
        raise BadRequest("malformed_compression", f"The body is not {encoding}: {error}") from None
    if len(decoded) > max_bytes:
        raise too_large(max_bytes)
    return decoded


def too_large(max_bytes: int) -> TooLarge:
    """The refusal of a body over the limit."""
    return TooLarge("body_too_large", f"The body is over {max_bytes} bytes; split it", limit=max_bytes)


def _gunzip(body: bytes, cap_bytes: int) -> bytes:
    """All members of a gzip file, one after the other (RFC 1952, 2.2)."""
    parts: list[bytes] = []
    at, left = 0, cap_bytes
    for _ in range(_MOST_MEMBERS):
        member, at = _inflate_one(body, at, left, _GZIP)
        parts.append(member)
        left -= len(member)
        if at == len(body) or not left:
            return b"".join(parts)
    raise ValueError(f"it has more than {_MOST_MEMBERS} members")


def _inflate(body: bytes, cap_bytes: int) -> bytes:
    """`deflate` is zlib by RFC 9110, 8.4.1.2, and raw in the hands of some senders."""
    is_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    decoded, at = _inflate_one(body, 0, cap_bytes, _ZLIB if is_zlib else _RAW_DEFLATE)
    if at < len(body) and len(decoded) < cap_bytes:
        raise ValueError(f"{len(body) - at} bytes follow its end")
    return decoded


def _inflate_one(body: bytes, at: int, cap_bytes: int, window_bits: int) -> tuple[bytes, int]:
    """What begins at a byte, up to a cap above 0, and where the next begins. Raises ValueError when it is cut short.

    The input goes in by steps, for zlib copies what it leaves of each: a body of 100,000 empty members, given whole for
    each of them, took 13 s.
    """
    inflater, view = zlib.decompressobj(window_bits), memoryview(body)
    parts: list[bytes] = []
    left = cap_bytes
    while left and not inflater.eof:
        step = view[at : at + STEP_BYTES]
        if not step:
            raise ValueError("it is cut short")
        parts.append(inflater.decompress(step, left))
        left -= len(parts[-1])
        at += len(step) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
    return b"".join(parts), at


def _unzstd(body: bytes, cap_bytes: int) -> bytes:
    """All frames, one after the other. The reader stops at the cap, and without a word where the input does."""
    declared_bytes = zstandard.frame_content_size(body)  # -1 where the frame does not say
    if declared_bytes >= cap_bytes:
        raise too_large(cap_bytes - 1)
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).stream_reader(body, read_across_frames=True)
    decoded: bytes = reader.read(cap_bytes)
    if len(decoded) < cap_bytes:
        _check_frames_are_whole(body)
    return decoded


def _check_frames_are_whole(body: bytes) -> None:
    """Walk the block headers (RFC 8878, 3.1.1.2) to the end of the last frame."""
    at = frames = 0
    while at < len(body):
        at += _zstd_frame_bytes(memoryview(body)[at:])
        frames += 1
        if frames > _MOST_MEMBERS:
            raise ValueError(f"it has more than {_MOST_MEMBERS} frames")
    if at > len(body):
        raise ValueError("it is cut short")


def _zstd_frame_bytes(frame: memoryview) -> int:
    if len(frame) >= 8 and int.from_bytes(frame[:4], "little") & 0xFFFFFFF0 == _ZSTD_SKIPPABLE:
        return 8 + int.from_bytes(frame[4:8], "little")
    at, is_last = zstandard.frame_header_size(frame), False
    while not is_last:
        header = int.from_bytes(frame[at : at + 3], "little")
        if at + 3 > len(frame):
            raise ValueError("it is cut short")
        is_last, is_run = bool(header & 1), header >> 1 & 3 == 1
        at += 3 + (1 if is_run else header >> 3)
    return at + (4 if zstandard.get_frame_parameters(frame).has_checksum else 0)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "zstd": _unzstd,
}
