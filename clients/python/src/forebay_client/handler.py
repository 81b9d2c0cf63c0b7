"""A handler for the standard library's logging: it costs the application a snapshot, never a wait. Any thread."""

from __future__ import annotations

import logging
from typing import Any

from forebay_client.client import Client
from forebay_client.records import snapshot

_OWN_LOGGER = "forebay_client"


class ForebayHandler(logging.Handler):
    """Sends what is logged through a client: the one given, or one of its own made from `options`, which are Client's.

    `extra`, the logger's name, the caller, process id and thread become metadata, an exception becomes the stack trace.
    """

    def __init__(self, *options: Any, client: Client | None = None, level: int | str = logging.NOTSET, **named: Any):
        super().__init__(level)
        self._owns_client = client is None
        self.client = Client(*options, **named) if client is None else client

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override, unused-ignore]
        """As every handler, but without the lock: threads do not wait for each other."""
        if self.filters:
            passed = self.filter(record)
            if not passed:
                return False
            record = passed if isinstance(passed, logging.LogRecord) else record
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits, and raises nothing: a record that cannot be encoded is counted, and told on standard error."""
        if record.name == _OWN_LOGGER:  # what the client says of itself would send itself
            return
        try:
            event = snapshot(record)
        except Exception:  # noqa: BLE001 - arguments of the application's, whose own methods may raise anything
            self.client.sender.unencodable()
            self.handleError(record)
            return
        self.client.sender.put(event)

    def flush(self) -> None:
        """Waits for what was logged to be answered, for the client's exit timeout at most."""
        self.client.flush(self.client.sender.limits.exit_timeout_s)

    def close(self) -> None:
        """Closes a client of its own."""
        if self._owns_client:
            self.client.close(self.client.sender.limits.exit_timeout_s)
        super().close()
