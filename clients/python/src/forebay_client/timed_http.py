"""`http.client` with one end to all its waits: a socket's timeout begins anew with each byte that comes."""

from __future__ import annotations

import http.client
import io
import math
import socket
import time
from typing import Any

# What a single write of TLS takes; each has its timeout for itself.
_WRITE_BYTES = 16 << 10


class TimedConnection(http.client.HTTPConnection):
    """Whatever waits raises TimeoutError after `wait_s`, or at `ends_s`, a time.monotonic(): whichever comes first.

    Looking up a name is not bounded, nor are a host's further addresses: each has the time that is left at the start.
    """

    wait_s = 0.0
    ends_s = math.inf

    def left_s(self) -> float:
        """How long the next wait may be; more than 0. Raises TimeoutError at the end."""
        left_s = min(self.wait_s, self.ends_s - time.monotonic())
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s

    def connect(self) -> None:
        self.timeout = self.left_s()
        super().connect()
        self.sock.settimeout(self.left_s())  # for the handshake of TLS, which may follow

    def send(self, data: Any) -> None:
        """`data` is bytes."""
        for at in range(0, len(data), _WRITE_BYTES):
            self.sock.settimeout(self.left_s())
            super().send(data[at : at + _WRITE_BYTES])

    def response_class(self, sock: socket.socket, *options: Any, **named: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        response = http.client.HTTPResponse(sock, *options, **named)
        response.fp = io.BufferedReader(_Received(response.fp, sock, self))
        return response


class TimedTlsConnection(http.client.HTTPSConnection, TimedConnection):
    """The same over TLS."""


class _Received(io.RawIOBase):
    """What a connection receives, as it comes."""

    def __init__(self, stream: io.BufferedReader, sock: socket.socket, connection: TimedConnection) -> None:
        self._raw, self._sock, self._connection = stream.detach(), sock, connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.left_s())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
