"""A structlog processor that sends each event as it passes the chain. Any thread; imports nothing of structlog."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import MutableMapping
from typing import Any

from forebay_client.client import BaseClient
from forebay_client.correlation import correlation_id
from forebay_client.events import metadata_json

log = logging.getLogger("forebay_client")

_LEVELS = {"exception": "ERROR", "notset": "TRACE", "msg": "INFO"}
# Fields of the event itself. structlog's own time, in whatever form, would only repeat the event's.
_TAKEN = frozenset({"event", "level", "timestamp", "exc_info", "exception", "stack", "correlation_id"})


class ForebayProcessor:
    """Goes before the renderer, in place of nothing: the event passes unchanged.

    `event` is the message, `exception` or `exc_info` the stack trace, `correlation_id` overrides the context's; all
    else becomes metadata.
    """

    def __init__(self, client: BaseClient) -> None:
        self._client = client

    def __call__(self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Never waits, and raises nothing."""
        try:
            data = self._encode(method_name, event_dict)
        except Exception:  # the application's own values may raise anything
            self._client.sender.unencodable()
            log.exception("a structlog event cannot be encoded")
        else:
            self._client.sender.put(data)
        return event_dict

    def _encode(self, method_name: str, event_dict: MutableMapping[str, Any]) -> bytes:
        given = event_dict.get("correlation_id")
        level = str(event_dict.get("level") or _LEVELS.get(method_name, method_name))
        return self._client.encoder.encode(
            str(event_dict.get("event", "")),
            level,
            time.time(),
            None,
            correlation_id.get() if given is None else str(given),
            metadata_json((name, value) for name, value in event_dict.items() if name not in _TAKEN),
            _stack_trace(event_dict),
        )


def _stack_trace(event_dict: MutableMapping[str, Any]) -> str:
    """As structlog's own processors left it, else from what they would make it of."""
    parts = [event_dict.get("exception") or _formatted(event_dict.get("exc_info")), event_dict.get("stack")]
    return "\n".join(str(part) for part in parts if part)


def _formatted(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        return "".join(traceback.format_exception(type(exc_info), exc_info, exc_info.__traceback__))
    if isinstance(exc_info, tuple) and exc_info[0] is not None:
        return "".join(traceback.format_exception(*exc_info))
    return traceback.format_exc() if exc_info is True else ""
