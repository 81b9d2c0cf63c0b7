"""Syslog over a byte stream: octet counting or one message a line, whichever each message uses (RFC 6587, 3.4).

The edge of the data plane; pure. One a connection.
"""

import re
from typing import Final

from ingest.protocols.ready import Ready

_COUNTED: Final = re.compile(rb"([1-9][0-9]{0,8}) <")
_MAYBE_COUNTED: Final = re.compile(rb"[1-9][0-9]{0,8} ?")
# A trailer is LF by custom; some senders write CR LF or NUL (RFC 6587, 3.4.2).
_TRAILER: Final = re.compile(rb"[\n\0]")
_BLANK: Final = b"\r\n\0 "
_BLANKS: Final = re.compile(rb"[\r\n\0 ]*+")


class SyslogSplitter:
    """Messages from pieces of any size; of one over `max_bytes` only the beginning is kept.

    `partial_bytes` is what has come of the next message.
    """

    def __init__(self, max_bytes: int) -> None:
        self.ready = Ready()
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched_bytes = 0  # without a trailer, from the buffer's beginning on
        self._skip_bytes = 0  # of a counted message that was too long
        self._skips_line = False

    @property
    def partial_bytes(self) -> int:
        return len(self._buffer) + self._skip_bytes + self._skips_line

    def feed(self, piece: bytes) -> None:
        """What has arrived."""
        self._buffer += piece
        while self._buffer and self._next():
            pass

    def finish(self) -> None:
        """Nothing follows: what has come of a line is a message; of a counted one it is a message broken off."""
        if not self._skip_bytes and _COUNTED.match(self._buffer) is None:
            if not self._skips_line:
                self._add(bytes(self._buffer))
            self._skips_line = False
            self._buffer.clear()

    def _next(self) -> bool:
        """Take what the buffer begins with; False when more must come first."""
        if self._skip_bytes:
            return self._skip()
        if self._skips_line:
            return self._line()
        if blanks := _BLANKS.match(self._buffer):
            del self._buffer[: blanks.end()]
        counted = _COUNTED.match(self._buffer)
        if counted:
            return self._counted(int(counted[1]), counted.end() - 1)
        if _MAYBE_COUNTED.fullmatch(self._buffer):
            return False
        return self._line()

    def _counted(self, size_bytes: int, at: int) -> bool:
        kept_bytes = min(size_bytes, self._max_bytes)
        if len(self._buffer) < at + kept_bytes:
            return False
        self._add(bytes(self._buffer[at : at + kept_bytes]))
        del self._buffer[: at + kept_bytes]
        self._skip_bytes = size_bytes - kept_bytes
        return True

    def _skip(self) -> bool:
        gone = min(self._skip_bytes, len(self._buffer))
        del self._buffer[:gone]
        self._skip_bytes -= gone
        return not self._skip_bytes

    def _line(self) -> bool:
        end = _TRAILER.search(self._buffer, self._searched_bytes)
        self._searched_bytes = len(self._buffer)
        if end is None and len(self._buffer) <= self._max_bytes:
            return False
        line = bytes(self._buffer[: end.start()] if end else self._buffer)
        del self._buffer[: end.end() if end else len(self._buffer)]
        self._searched_bytes = 0
        if not self._skips_line:
            self._add(line[: self._max_bytes])
        self._skips_line = end is None
        return True

    def _add(self, message: bytes) -> None:
        message = message.rstrip(_BLANK)
        if message:
            self.ready.add(message)
