"""Lines to events of several lines: stack traces and whatever else is printed over more than one. Pure, one file.

Which lines belong together follows from the lines alone, never from when they came; only `flush` ends a group by
time, and its caller remembers where.
"""

from __future__ import annotations

import re
from typing import Callable

from forebay_client.tail.lines import Line, Lines

Starts = Callable[[str], bool]
# What follows an exception's first line, in the languages that indent it; Java names causes at the margin.
_CONTINUES = re.compile(r"\s|Caused by: |Suppressed: ")


def starts_unindented(text: str) -> bool:
    """A line that is not indented begins an event; an empty one goes with what is before it."""
    return bool(text) and _CONTINUES.match(text) is None


def starts_with(pattern: str) -> Starts:
    """A line in which the pattern is found begins an event."""
    search = re.compile(pattern).search
    return lambda text: search(text) is not None


class Grouper:
    """Holds the lines of the event that has not ended: at most `max_lines`, and `max_bytes` of characters.

    A group that reaches a bound ends there and the rest begins another. A line that is told in parts stays alone.
    """

    def __init__(self, starts: Starts, *, max_lines: int, max_bytes: int) -> None:
        self._starts, self._max_lines, self._max_bytes = starts, max_lines, max_bytes
        self._held: Lines = []
        self._held_bytes = 0
        self._resume_before: int | None = None

    def __bool__(self) -> bool:
        return bool(self._held)

    def feed(self, lines: Lines) -> Lines:
        """The events that are complete, in the form of lines."""
        complete: Lines = []
        for line in lines:
            if self._begins(line):
                complete += self.flush()
            self._held.append(line)
            self._held_bytes += len(line[2]) + 1
            if line[3] is not None:
                complete += self.flush()
        return complete

    def flush(self) -> Lines:
        """What is held, as one event; empty when nothing but blank lines is."""
        held, self._held, self._held_bytes = self._held, [], 0
        if not held:
            return []
        start, resume = held[0][0], self._resume(held)
        text = "\n".join([line[2] for line in held]).rstrip("\n")
        return [(start, resume, text, held[-1][3])]

    def _begins(self, line: Line) -> bool:
        if not self._held:
            return False
        is_full = len(self._held) >= self._max_lines or self._held_bytes + len(line[2]) > self._max_bytes
        is_part = line[3] is not None and line[3].get("part", 0) != 0
        return is_full or is_part or self._starts(line[2])

    def _resume(self, held: Lines) -> int:
        """A group whose last line goes on in parts is read again with them, from its own first line."""
        start, resume = held[0][0], held[-1][1]
        is_whole = resume > held[-1][0]
        if self._resume_before is None and not is_whole:
            self._resume_before = min(start, resume)
        if self._resume_before is not None and not is_whole:
            return self._resume_before
        self._resume_before = None
        return resume
