"""Bytes of a file to lines with their offsets, however the bytes are cut into chunks. Pure, one file, one thread.

A line is a tuple (start, resume, text, note): the offset of its first byte; the offset from which to read again once
all up to this line is accepted; its text without line end; metadata about it, or None. Plain tuples made by `zip`,
for at 50 MB/s four microseconds are left for a line, and a named tuple takes a tenth of that.
"""

from __future__ import annotations

import codecs
from itertools import accumulate, count, repeat
from operator import add, methodcaller
from typing import NamedTuple, Optional, Union

Note = dict[str, Union[str, int, float, bool, None]]
Line = tuple[int, int, str, Optional[Note]]
Lines = list[Line]
SPLIT, CUT = "split", "cut"


class Encoding(NamedTuple):
    """How text lies in a file: Python's codec, the bytes of a line feed, the bytes of the smallest character."""

    codec: str
    newline: bytes
    unit_bytes: int


ENCODINGS = {
    "utf-8": Encoding("utf-8", b"\n", 1),
    "latin-1": Encoding("latin-1", b"\n", 1),
    "utf-16-le": Encoding("utf-16-le", b"\n\0", 2),
    "utf-16-be": Encoding("utf-16-be", b"\0\n", 2),
}
NAMES = (*ENCODINGS, "utf-16")
_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}


def encoding_of(name: str, head: bytes) -> tuple[Encoding, int]:
    """The encoding of a file that begins with `head`, and the length of its byte order mark. `utf-16` is what the mark
    says, little-endian without one."""
    if name == "utf-16":
        name = "utf-16-be" if head.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    mark = _MARKS.get(name, b"")
    return ENCODINGS[name], len(mark) if mark and head.startswith(mark) else 0


class LineFramer:
    """Feed it all bytes from `offset` on. It keeps at most one line of `max_line_bytes`, and what was fed last.

    A longer line is split into events of its own, numbered in `part` and told together by `lineOffset`; or cut, with
    `cutBytes` telling what was left out. NUL bytes before a line are passed over: a file that was truncated under a
    writer that keeps its position begins with a hole. An empty line is a line.
    """

    def __init__(self, offset: int, encoding: Encoding, *, max_line_bytes: int, overlong: str = SPLIT) -> None:
        self._encoding, self._newline, self._unit_bytes = encoding, encoding.newline, encoding.unit_bytes
        self._decode = methodcaller("decode", encoding.codec, "replace")
        self._limit_bytes = max(max_line_bytes - max_line_bytes % 4, 4)
        self._cuts = overlong == CUT
        self._carry = b""
        self._start_line(offset)

    def _start_line(self, offset: int) -> None:
        self._offset = self._line_start = offset  # of the carry; of the line that it belongs to
        self._part = 0
        self._kept: bytes | None = None
        self._dropped_bytes = 0

    @property
    def line_start(self) -> int:
        """Of the line that has not ended."""
        return self._line_start

    @property
    def end(self) -> int:
        """The offset behind the last byte that was fed."""
        return self._offset + len(self._carry)

    @property
    def has_rest(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._carry or self._part or self._kept is not None)

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in `data`, and the parts of a long one that are complete."""
        buffer = self._carry + data if self._carry else data
        parts = self._split(buffer)
        rest = parts.pop()
        if not self._is_simple(buffer, parts, rest):
            return self._feed_each(parts, rest)
        starts = list(map(add, accumulate(map(len, parts), initial=0), count(self._offset, len(self._newline))))
        if b"\r" in buffer:
            parts = [self._without_cr(raw) for raw in parts]
        self._carry = rest
        self._offset = self._line_start = starts[-1]
        return list(zip(starts, starts[1:], map(self._decode, parts), repeat(None)))

    def finish(self) -> list[Line]:
        """What has no line end, as a line: nothing more belongs to it."""
        lines: list[Line] = []
        if self.has_rest:
            self._end_line(lines, self.end)
        return lines

    def _is_simple(self, buffer: bytes, parts: list[bytes], rest: bytes) -> bool:
        """Nothing is too long, and nothing to be passed over."""
        if self._part or self._kept is not None or len(rest) > self._limit_bytes:
            return False
        if parts and max(map(len, parts)) > self._limit_bytes:
            return False
        return b"\0" not in buffer if self._unit_bytes == 1 else b"\0\0" not in buffer

    def _feed_each(self, parts: list[bytes], rest: bytes) -> list[Line]:
        lines: list[Line] = []
        for raw in parts:
            self._carry = raw
            self._spill(lines)
            self._end_line(lines, self.end + len(self._newline))
        self._carry = rest
        self._spill(lines)
        return lines

    def _split(self, buffer: bytes) -> list[bytes]:
        """By line feeds; of two bytes only where they are one character."""
        if self._unit_bytes == 1:
            return buffer.split(self._newline)
        parts, begin, at = [], 0, buffer.find(self._newline)
        while at >= 0:
            if at % 2:
                at = buffer.find(self._newline, at + 1)
                continue
            parts.append(buffer[begin:at])
            begin = at + 2
            at = buffer.find(self._newline, begin)
        parts.append(buffer[begin:])
        return parts

    def _spill(self, lines: list[Line]) -> None:
        """Takes out of the carry what need not, or must not, wait for the line's end."""
        if not self._part and self._kept is None:
            self._skip_nuls()
        if self._kept is None and self._whole_bytes() > self._limit_bytes and self._cuts:
            self._kept = self._consume(self._boundary())
        if self._kept is not None:
            self._dropped_bytes += len(self._consume(self._whole_bytes()))
        while self._whole_bytes() > self._limit_bytes:
            note: Note = {"part": self._part, "lineOffset": self._line_start}
            begin = self._offset
            lines.append((begin, self._line_start, self._decode(self._consume(self._boundary())), note))
            self._part += 1

    def _end_line(self, lines: list[Line], end: int) -> None:
        raw = self._without_cr(self._carry)
        if self._kept is not None:
            cut: Note = {"cutBytes": self._dropped_bytes + len(self._carry)}
            lines.append((self._line_start, end, self._decode(self._kept), cut))
        elif self._part:
            last: Note = {"part": self._part, "parts": self._part + 1, "lineOffset": self._line_start}
            lines.append((self._offset, end, self._decode(raw), last))
        else:
            lines.append((self._offset, end, self._decode(raw), None))
        self._carry = b""
        self._start_line(end)

    def _skip_nuls(self) -> None:
        if not self._carry.startswith(b"\0" * self._unit_bytes):
            return
        nul_bytes = len(self._carry) - len(self._carry.lstrip(b"\0"))
        self._consume(nul_bytes - nul_bytes % self._unit_bytes)
        self._line_start = self._offset

    def _whole_bytes(self) -> int:
        """Of the carry, without half a character of two bytes."""
        return len(self._carry) - len(self._carry) % self._unit_bytes

    def _consume(self, size: int) -> bytes:
        taken, self._carry = self._carry[:size], self._carry[size:]
        self._offset += size
        return taken

    def _boundary(self) -> int:
        """Where a part ends: at the limit, or before the character that the limit would cut."""
        at = self._limit_bytes
        if self._encoding.codec == "utf-8":
            while at > self._limit_bytes - 3 and self._carry[at] & 0xC0 == 0x80:
                at -= 1
        elif self._unit_bytes == 2:
            high = self._carry[at + 1 : at + 2] if self._encoding.codec == "utf-16-le" else self._carry[at : at + 1]
            if b"\xdc" <= high <= b"\xdf":  # the second half of a surrogate pair
                at -= 2
        return at

    def _without_cr(self, raw: bytes) -> bytes:
        cr = self._newline.replace(b"\n", b"\r")
        return raw[: -len(cr)] if raw.endswith(cr) else raw
