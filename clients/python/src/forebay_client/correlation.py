"""The correlation id of what runs now: a context variable, so threads and asyncio tasks each have their own.

Frameworks' integrations set it, an application may too; every event made meanwhile carries it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

correlation_id: ContextVar[str | None] = ContextVar("forebay_correlation_id", default=None)

_CORRELATION_ID = re.compile(r"[\x21-\x7e]{1,255}")
# W3C Trace Context, 3.2: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@contextmanager
def correlated(value: str) -> Iterator[None]:
    """What is logged and sent within the `with` block carries this correlation id, 1 to 255 characters."""
    token = correlation_id.set(value)
    try:
        yield
    finally:
        correlation_id.reset(token)


def correlation_id_of(header: str | None, traceparent: str | None) -> str:
    """Of a request, as Forebay itself chooses: X-Correlation-ID, else the trace id of a traceparent, else a new one."""
    if header is not None and _CORRELATION_ID.fullmatch(header):
        return header
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    return match[1] if match else secrets.token_hex(16)
