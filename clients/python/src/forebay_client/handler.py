"""A handler for the standard library's logging: it costs the application the encoding, never a wait. Any thread."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from forebay_client.client import Client
from forebay_client.correlation import correlation_id
from forebay_client.events import METADATA_MAX_ENTRIES, metadata_json, quote

_OWN_LOGGER = "forebay_client"
_LEVELS = {0: "TRACE", 10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "FATAL"}
# What every record has, or a formatter adds to it; whatever else is in one came from `extra`.
_BARE = vars(logging.makeLogRecord({}))
_LAST_BARE = list(_BARE)[-1]
_STANDARD = frozenset(_BARE) | {"message", "asctime"}
_ORIGINS_KEPT = 4096
_OURS = ("logger", "caller", "pid", "thread")


class ForebayHandler(logging.Handler):
    """Sends what is logged through a client: the one given, or one of its own made from `options`, which are Client's.

    `extra`, the logger's name, the caller, process id and thread become metadata, an exception becomes the stack trace.
    """

    def __init__(self, *options: Any, client: Client | None = None, level: int | str = logging.NOTSET, **named: Any):
        super().__init__(level)
        self._origins: dict[tuple[str, str, int], str] = {}
        self._owns_client = client is None
        self.client = Client(*options, **named) if client is None else client

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override, unused-ignore]
        """As every handler, but without the lock: threads do not wait for each other."""
        passed = self.filter(record) if self.filters else True
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits, and raises nothing: a record that cannot be encoded is counted, and told on standard error."""
        if record.name == _OWN_LOGGER:  # what the client says of itself would send itself
            return
        try:
            data = self._encode(record)
        except Exception:  # noqa: BLE001 - arguments of the application's, whose own methods may raise anything
            self.client.sender.unencodable()
            self.handleError(record)
            return
        self.client.sender.put(data)

    def flush(self) -> None:
        """Waits for what was logged to be answered, for the client's exit timeout at most."""
        self.client.flush(self.client.sender.limits.exit_timeout_s)

    def close(self) -> None:
        """Closes a client of its own."""
        if self._owns_client:
            self.client.close(self.client.sender.limits.exit_timeout_s)
        super().close()

    def _encode(self, record: logging.LogRecord) -> bytes:
        metadata = f'{self._origin(record)},"pid":{record.process or 0},"thread":{quote(record.threadName or "")}'
        fields = vars(record)
        # What is in `extra` comes behind the rest: this tells a bare record without a look at each of its fields.
        if len(fields) != len(_BARE) or next(reversed(fields)) != _LAST_BARE:
            extra = [(name, value) for name, value in fields.items() if name not in _STANDARD]
            if extra:
                metadata += "," + metadata_json(extra, METADATA_MAX_ENTRIES - len(_OURS))
        level = record.levelno
        return self.client.encoder.encode(
            record.getMessage(),
            _LEVELS.get(level) or _LEVELS[max(0, min(level // 10, 5)) * 10],
            record.created,
            None,
            correlation_id.get(),
            metadata,
            _stack_trace(record) if record.exc_info or record.exc_text or record.stack_info else None,
        )

    def _origin(self, record: logging.LogRecord) -> str:
        """The part of the metadata that is the same for each record of one line of code."""
        line = record.name, record.filename, record.lineno
        origin = self._origins.get(line)
        if origin is None:
            origin = f'"logger":{quote(record.name)},"caller":{quote(f"{record.filename}:{record.lineno}")}'
            if len(self._origins) >= _ORIGINS_KEPT:  # loggers may be made by the thousand, one for each connection
                self._origins.clear()
            self._origins[line] = origin
        return origin


def _stack_trace(record: logging.LogRecord) -> str:
    exception = record.exc_text or ""
    if not exception and record.exc_info and record.exc_info[0] is not None:
        exception = "".join(traceback.format_exception(*record.exc_info))
    return "\n".join(part.rstrip("\n") for part in (exception, record.stack_info) if part)
