"""One file that is read: its bytes to lines, and how far they are accepted. One thread.

What it holds is bounded: the lines of one chunk, one line that has not ended, one group of lines.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from forebay_client.tail.checkpoints import FileState, note_head
from forebay_client.tail.content import HEAD_BYTES, TAIL_BYTES, Content
from forebay_client.tail.events import Origin
from forebay_client.tail.lines import Lines, encoding_of
from forebay_client.tail.options import Input

CHUNK_BYTES = 256 << 10


class Taken(NamedTuple):
    """Lines for a batch, without the empty ones, and the offset that is accepted with them."""

    lines: Lines
    resume: int


class FileReader:
    """Reads a file from `state.offset` on. `now_s` is monotonic.

    `content` is None once the file was truncated under it: what was read stays, and a copy may take its place.
    """

    def __init__(self, state: FileState, content: Content, kind: Input, host: str, now_s: float) -> None:
        self.state, self.kind, self.path_now = state, kind, state.path
        self.content: Content | None = content
        self.encoder = kind.encoder()
        self.origin = Origin(state.file_id, kind.source or state.path, state.path, host)
        self.is_gone = False
        """Its name is another file's or nobody's: it will end."""
        self.is_at_end = False
        self.is_finished = False
        self.is_failing = False
        """The last read raised OSError: it is tried again, and nobody waits for it."""
        self.changed_s = now_s
        """When it last brought something."""
        self._head = content.read(0, HEAD_BYTES)
        encoding, mark_bytes = encoding_of(kind.encoding, self._head)
        self.position = max(state.offset, mark_bytes)
        self._tail = self._tail_in(content)
        self._framer = kind.framer(self.position, encoding)
        self._grouper = kind.grouper()
        self._lines: Lines = []
        self._taken = 0
        self._handed_out = state.offset

    @property
    def has_lines(self) -> bool:
        return self._taken < len(self._lines)

    @property
    def is_idle(self) -> bool:
        """It could be closed until it grows."""
        return self.is_at_end and self.is_settled and not self.is_gone

    @property
    def is_settled(self) -> bool:
        """All that was read is accepted, but for a line that has not ended."""
        return not self.has_lines and not self._grouper and self.state.offset >= self._handed_out

    def read(self, now_s: float) -> bool:
        """One chunk more, once all lines are taken; whether there was any. Of a truncated file there is none."""
        data = b"" if self.content is None else self.content.read(self.position, CHUNK_BYTES)
        if data and self.is_truncated():  # asked only now: what was read is the old file's if that is still there
            data = b""
        self.is_at_end = not data
        if not data:
            return False
        self.changed_s = now_s
        self._lines, self._taken = [], 0
        if self.position <= len(self._head) < HEAD_BYTES:
            # From what was read, not from the file, which may be another one's by now.
            self._head = (self._head[: self.position] + data)[:HEAD_BYTES]
            note_head(self.state, self._head)
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        self._feed(data)
        self.state.mark(self.position, self._tail)
        return True

    def take(self, max_events: int, max_bytes: int) -> Taken:
        """The next lines, at least one, of about so many bytes."""
        begin = self._taken
        end = bisect_left(self._lines, (self._lines[begin][0] + max_bytes,), begin + 1)
        self._taken = min(end, begin + max_events)
        taken = self._lines[begin : self._taken]
        self._handed_out = taken[-1][1]
        return Taken([line for line in taken if line[2]], self._handed_out)

    def accept(self, resume: int) -> None:
        """All before this offset need not be read again."""
        self.state.offset = resume
        self.state.cuts = [cut for cut in self.state.cuts if cut > resume]

    def is_truncated(self) -> bool:
        """Whether what was seen of the file is no longer there. One that has grown again beyond that, too."""
        if self.content is None or self.content.is_compressed:
            return False
        if self.position < HEAD_BYTES:
            return self.content.read(0, len(self._head)) != self._head
        return self.content.read(self.position - len(self._tail), len(self._tail)) != self._tail

    def lose_content(self) -> Content:
        """The file is another one from here on; returns what was read from."""
        assert self.content is not None  # noqa: S101  # asked of a reader that has one
        content, self.content = self.content, None
        self.state.note_truncation()
        self.is_gone = True
        return content

    def go_on_with(self, content: Content, now_s: float) -> None:
        """A copy of what was lost."""
        self._head, self._tail = content.read(0, HEAD_BYTES), self._tail_in(content)
        self.content, self.changed_s, self.is_finished = content, now_s, False

    def has_waited(self, now_s: float) -> bool:
        """Whether lines that may go on have been held for long enough."""
        return bool(self._grouper) and now_s - self.changed_s >= self.kind.multiline_wait_s

    def end_group(self) -> None:
        """By time. The caller keeps the state before it sends what came of it."""
        if self._grouper:
            self.state.cuts.append(self._framer.line_start)
            self._lines, self._taken = self._lines[self._taken :] + self._grouper.flush(), 0

    def finish(self) -> None:
        """Nothing more is expected: what has begun ends here. The caller keeps the state as above."""
        self.is_finished = True
        if self._framer.has_rest or self._grouper:
            self.state.cuts.append(self.position)
            self._lines, self._taken = self._lines[self._taken :], 0
            self._end()

    def _tail_in(self, content: Content) -> bytes:
        """What lies before the position; nothing of a copy that was made before so much had been written."""
        tail_bytes = min(self.position, TAIL_BYTES)
        tail = content.read(self.position - tail_bytes, tail_bytes)
        return tail if len(tail) == tail_bytes else b""

    def _feed(self, data: bytes) -> None:
        """Ends events where time ended them when they were first read."""
        begin, at = self.position, 0
        for cut in [cut - begin for cut in self.state.cuts if begin < cut <= begin + len(data)]:
            self._add(data[at:cut])
            self._end()
            at = cut
        self._add(data[at:])
        self.position = begin + len(data)

    def _add(self, data: bytes) -> None:
        if data:
            lines = self._framer.feed(data)
            self._lines += self._grouper.feed(lines) if self._grouper is not None else lines

    def _end(self) -> None:
        lines = self._framer.finish()
        self._lines += self._grouper.feed(lines) + self._grouper.flush() if self._grouper is not None else lines
