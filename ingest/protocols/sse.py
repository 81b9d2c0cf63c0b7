"""Server-sent events (WHATWG HTML, 9.2): the lines of one. The edge of the data plane; pure."""

from typing import Final

ALIVE: Final = b": alive\n\n"
"""A comment, so that nothing between here and there takes the connection for dead."""


def sse_event(text: bytes, kind: str = "") -> bytes:
    """One event whose data is one line; a kind other than `message` is named."""
    return (f"event: {kind}\n".encode() if kind else b"") + b"data: " + text + b"\n\n"


def sse_retry(retry_ms: int) -> bytes:
    """How long a client that lost the connection waits before it comes back."""
    return f"retry: {retry_ms}\n\n".encode()
