"""A record of the standard library's logging on its way: a tuple where it is logged, JSON where it is sent.

What of a record may change after the call is made text at once. All else waits for the sending thread: the application
pays for each call, and a tuple of texts and numbers is the cheapest thing that holds an event.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any, Optional

from forebay_client.correlation import correlation_id
from forebay_client.events import METADATA_MAX_ENTRIES, Encoder, immutable, metadata_json, quote

Snapshot = tuple[
    int,  # about the bytes of its JSON; in memory it needs no more than that
    str,  # message
    int,  # level
    float,  # time of the call, s since 1970
    Optional[str],  # correlation id
    str,  # logger
    str,  # file
    int,  # line
    Optional[int],  # process id
    Optional[str],  # thread
    Optional[list[tuple[str, Any]]],  # extra
    Optional[str],  # stack trace
]

_LEVELS = {0: "TRACE", 10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "FATAL"}
# What every record has, or a formatter adds to it; whatever else is in one came from `extra`.
_BARE = vars(logging.makeLogRecord({}))
_BARE_LENGTH, _LAST_BARE = len(_BARE), list(_BARE)[-1]
_STANDARD = frozenset(_BARE) | {"message", "asctime"}
_OURS = ("logger", "caller", "pid", "thread")
_ORIGINS_KEPT = 4096
# Beside the message, of each entry of `extra`, and of a character where not all are ASCII: as JSON, and as the tuple.
_FRAME_BYTES, _ENTRY_BYTES, _WIDE_BYTES = 400, 128, 4


def snapshot(record: logging.LogRecord) -> Snapshot:
    """Raises whatever the application's own values raise when they become text."""
    message, extra, stack_trace = record.getMessage(), None, None
    size = _FRAME_BYTES + _bytes_of(message)
    fields = record.__dict__
    # What is in `extra` comes behind the rest: this tells a bare record without a look at each of its fields.
    if len(fields) != _BARE_LENGTH or next(reversed(fields)) != _LAST_BARE:
        extra = [(name, immutable(value)) for name, value in fields.items() if name not in _STANDARD]
        size += sum(_ENTRY_BYTES + (_bytes_of(value) if type(value) is str else 0) for _, value in extra)
    if fields["exc_info"] or fields["exc_text"] or fields["stack_info"]:
        stack_trace = _stack_trace(record)
        size += _bytes_of(stack_trace)
    return (
        size,
        message,
        fields["levelno"],
        fields["created"],
        correlation_id.get(),
        fields["name"],
        fields["filename"],
        fields["lineno"],
        fields["process"],
        fields["threadName"],
        extra,
        stack_trace,
    )


class SnapshotEncoder:
    """Snapshots to JSON. Any thread."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._origins: dict[tuple[str, str, int], str] = {}

    def encode(self, snapshot: Snapshot) -> bytes:
        """As Encoder.encode. Raises if time or level are no numbers, as logging's own always are."""
        _, message, level, created_s, correlation, logger, file, line, process, thread, extra, stack_trace = snapshot
        metadata = f'{self._origin(logger, file, line)},"pid":{process or 0},"thread":{quote(str(thread or ""))}'
        if extra:
            metadata += "," + metadata_json(extra, METADATA_MAX_ENTRIES - len(_OURS))
        name = _LEVELS.get(level) or _LEVELS[max(0, min(level // 10, 5)) * 10]
        return self._encoder.encode(message, name, created_s, None, correlation, metadata, stack_trace)

    def _origin(self, logger: str, file: str, line: int) -> str:
        """The part of the metadata that is the same for each record of one line of code."""
        origin = self._origins.get((logger, file, line))
        if origin is None:
            origin = f'"logger":{quote(str(logger))},"caller":{quote(f"{file}:{line}")}'
            if len(self._origins) >= _ORIGINS_KEPT:  # loggers may be made by the thousand, one for each connection
                self._origins.clear()
            self._origins[logger, file, line] = origin
        return origin


def _bytes_of(text: str) -> int:
    """At most, as UTF-8 and in memory."""
    return len(text) if text.isascii() else _WIDE_BYTES * len(text)


def _stack_trace(record: logging.LogRecord) -> str:
    exception = record.exc_text or ""
    if not exception and record.exc_info and record.exc_info[0] is not None:
        exception = "".join(traceback.format_exception(*record.exc_info))
    return "\n".join(part.rstrip("\n") for part in (exception, record.stack_info) if part)
