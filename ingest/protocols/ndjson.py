"""NDJSON for as long as a connection lives: bytes to lines, lines to events with lasting ids, and the lines in answer.

The edge of the data plane; pure. One `LineSplitter` a connection; docs/streams.md describes both directions.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ingest.dataplane.errors import EventRejected
from ingest.dataplane.event import Decoded, decode_each
from ingest.protocols.ready import Ready

_encode = msgspec.json.Encoder().encode
# Stands for a line that was too long to be kept; no event is written like this.
TOO_LONG: Final = b"null"


class LineSplitter:
    """Lines from pieces of any size. What is longer than `max_bytes` is let go of while it arrives.

    `partial_bytes` is what has come of the next one.
    """

    def __init__(self, max_bytes: int) -> None:
        self.ready = Ready()
        self.partial_bytes = 0
        self._max_bytes = max_bytes
        self._partial: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """What has arrived. Blank lines are none."""
        head, *rest = piece.split(b"\n")
        self._grow(head)
        if rest:
            self._complete()
            # Lines of nothing cost nobody's quota, so they must hardly cost time.
            for line in filter(None, rest[:-1]):
                self._add(line if len(line) <= self._max_bytes else TOO_LONG)
            self._grow(rest[-1])

    def finish(self) -> None:
        """Nothing follows: what has come of a line is one."""
        self._complete()

    def _grow(self, piece: bytes) -> None:
        if piece:
            self.partial_bytes += len(piece)
            if self.partial_bytes <= self._max_bytes:
                self._partial.append(piece)
            else:
                self._partial.clear()

    def _complete(self) -> None:
        line = b"".join(self._partial) if self.partial_bytes <= self._max_bytes else TOO_LONG
        self._partial.clear()
        self.partial_bytes = 0
        self._add(line)

    def _add(self, line: bytes) -> None:
        if line and not line.isspace():
            self.ready.add(line)


def event_ids(tenant: str, stream: str) -> Callable[[int], str]:
    """The eventId of a stream's event by its sequence, the same wherever and however often it is asked for.

    A UUIDv8 (RFC 9562, 5.8): 74 bits say which stream it is, the last 48 are the sequence.
    """
    digest = hashlib.sha256(f"{tenant}\0{stream}".encode()).hexdigest()
    head = f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-{'89ab'[int(digest[15], 16) % 4]}{digest[16:19]}-"
    return lambda sequence: f"{head}{sequence:012x}"


def decode_lines(lines: Sequence[bytes], first: int, event_id: Callable[[int], str], line_max_bytes: int) -> Decoded:
    """The events of lines of which the first has the sequence `first`; those that have no id get theirs."""
    decoded = decode_each(lines)
    for index, event in zip(decoded.indexes, decoded.events, strict=True):
        if event.event_id is None:
            event.event_id = event_id(first + index)
    for index in decoded.rejected:
        if lines[index] is TOO_LONG:
            decoded.rejected[index] = EventRejected("event_too_large", f"The line is over {line_max_bytes} bytes")
    return decoded


def line(kind: str, **fields: Any) -> bytes:
    """A line of the answer."""
    return bytes(_encode({"type": kind, **fields})) + b"\n"


def rejected_line(sequence: int, event_id: str | None, error: EventRejected) -> Mapping[str, Any]:
    """One rejected event, as an acknowledgement lists it."""
    return {"sequence": sequence, "eventId": event_id, "code": error.code, "detail": error.detail}
