"""What a file holds, plain or gzip, read at offsets of its text. One thread; nothing here knows of paths that change.

A file keeps its descriptor: renamed or deleted, it is read to its end all the same.
"""

from __future__ import annotations

import os
import zlib
from hashlib import blake2b
from typing import Any, Union

HEAD_BYTES = 1024
TAIL_BYTES = 1024
_GZIP_MAGIC = b"\x1f\x8b"
_RAW_BYTES = 32 << 10
_SMALL_BYTES = 64
_STEP_BYTES = 256 << 10


def digest(data: bytes) -> str:
    """Tells whether two pieces of a file are the same."""
    return blake2b(data, digest_size=12).hexdigest()


class PlainContent:
    """A file as it lies on the disk."""

    is_compressed = False
    damage = ""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def size_bytes(self) -> int:
        return os.fstat(self.descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Fewer bytes at the end, none beyond it."""
        return os.pread(self.descriptor, size, offset)

    def is_over(self, offset: int) -> bool:
        """Whether nothing can ever follow: not known of a plain file."""
        return False

    def read_disk_bytes(self, position: int) -> int:
        """How large the file was on the disk when it had been read up to this offset and no further."""
        return min(position, self.size_bytes())

    def close(self) -> None:
        os.close(self.descriptor)


class GzipContent:
    """The text in a gzip file of any number of members; offsets are those of the text.

    It is read from front to back; an offset before that begins anew. One that is being written is read as far as it
    is; one that is damaged, up to there, and `damage` says why.
    """

    is_compressed = True

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._sizes: tuple[int, int] | None = None
        self._rewind()

    def _rewind(self) -> None:
        self._raw_offset = self._text_offset = 0
        self._text = b""
        self._raw = b""
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._is_between_members = True
        self.damage = ""

    def size_bytes(self) -> int:
        """By unfolding all of it, once for each size that the file has on the disk."""
        on_disk = os.fstat(self.descriptor).st_size
        if self._sizes is None or self._sizes[0] != on_disk:
            while self._fill():
                self._text_offset += len(self._text)
                self._text = b""
            self._sizes = (on_disk, self._text_offset + len(self._text))
        return self._sizes[1]

    def read(self, offset: int, size: int) -> bytes:
        if offset < self._text_offset:
            self._rewind()
        while self._text_offset + len(self._text) < offset + size and self._fill():
            skip = min(offset - self._text_offset, len(self._text))
            if skip > 0:
                self._text, self._text_offset = self._text[skip:], self._text_offset + skip
        begin = offset - self._text_offset
        found = self._text[begin : begin + size]
        # What was read stays until the next call goes beyond it: the end of it may be asked for again.
        keep_from = max(0, min(begin + len(found), len(self._text)) - TAIL_BYTES)
        self._text, self._text_offset = self._text[keep_from:], self._text_offset + keep_from
        return found

    def is_over(self, offset: int) -> bool:
        """The last member is complete, or nothing more can be unfolded, and all text lies before the offset."""
        if self._fill():
            return False
        at_end = self._is_between_members and not self._raw and self._raw_offset > 0
        return (at_end or bool(self.damage)) and self._text_offset + len(self._text) <= offset

    def close(self) -> None:
        os.close(self.descriptor)

    def read_disk_bytes(self, position: int) -> int:
        """As above."""
        return self._raw_offset

    def _fill(self) -> bool:
        """Unfolds some more; False when nothing more is there at present."""
        while not self.damage:
            is_dry = not self._raw
            if is_dry:
                self._raw = os.pread(self.descriptor, _RAW_BYTES, self._raw_offset)
                self._raw_offset += len(self._raw)
                is_dry = not self._raw
            if self._unfold():
                return True
            if is_dry:
                return False
        return False

    def _unfold(self) -> bool:
        """Whether text came of it. Without input too, for zlib may hold some back."""
        if self._is_between_members:
            if self._raw_offset > len(self._raw):  # tools pad with zeros up to a block
                self._raw = self._raw.lstrip(b"\0")
            if not self._raw:
                return False
            self._is_between_members = False
        before = self._member.copy()
        try:
            text = self._member.decompress(self._raw, _STEP_BYTES)
        except zlib.error as error:
            self.damage = str(error)
            self._text += _before_damage(before, self._raw)
            return bool(self._text)
        self._raw = self._member.unconsumed_tail
        if self._member.eof:
            self._raw = self._member.unused_data
            self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._is_between_members = True
        self._text += text
        return bool(text)


def _before_damage(member: Any, raw: bytes) -> bytes:
    """What a call that fails has unfolded is lost with it; in small pieces only the last one's is."""
    text = b""
    try:
        for at in range(0, len(raw), _SMALL_BYTES):
            text += member.decompress(raw[at : at + _SMALL_BYTES])
    except zlib.error:  # here it is
        pass
    return text


Content = Union[PlainContent, GzipContent]


def open_content(path: str) -> Content:
    """Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return content_of(descriptor)
    except OSError:
        os.close(descriptor)
        raise


def content_of(descriptor: int) -> Content:
    """By what the file begins with, whatever its name is. One of which nothing is there yet counts as plain until it is
    asked for again. Raises OSError."""
    is_gzip = os.pread(descriptor, len(_GZIP_MAGIC), 0) == _GZIP_MAGIC
    return GzipContent(descriptor) if is_gzip else PlainContent(descriptor)


def same_so_far(one: Content, other: Content) -> bool:
    """Whether the shorter of two is the beginning of the other, as a copy that is being made is. By both of its ends.

    An empty one is the beginning of anything, so nothing can be told by it: no.
    """
    head_bytes = min(len(one.read(0, HEAD_BYTES)), len(other.read(0, HEAD_BYTES)))
    if not head_bytes or one.read(0, head_bytes) != other.read(0, head_bytes):
        return False
    common_bytes = min(one.size_bytes(), other.size_bytes())
    at = max(0, common_bytes - TAIL_BYTES)
    return one.read(at, common_bytes - at) == other.read(at, common_bytes - at)
