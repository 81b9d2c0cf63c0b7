"""One keep-alive connection to Forebay that posts one batch at a time: `http.client`, nothing else.

    transport = Transport("https://logs.example.com", "fb_...")
    outcome = transport.send([b'{"source":"app","level":"INFO","message":"hello","eventId":"1"}'])
    if outcome.retry_after_s is not None: ...   # keep the events, send them again after so long (0: your choice)
    elif outcome.is_to_be_split: ...            # send them in smaller parts
    else: outcome.accepted, outcome.rejected    # by index; each event is in one of them

`send` blocks, and raises nothing that a network or a server can cause. It sends once: waiting and sending again are the
caller's, with the same bytes, so that the copy is known by its eventIds and idempotency key. Not thread-safe but for
`abort`: one caller at a time.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from forebay_client.wire import DELIVERIES, Outcome, Request, compressor, encode_request, no_answer, read_answer

__all__ = ["Outcome", "Transport"]

# Ten thousand rejected events with their details.
_ANSWER_MAX_BYTES = 16 << 20


class Address:
    """A server's URL taken apart. Raises ValueError for one that is none."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL such as https://logs.example.com")
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.is_tls else 80)
        self.prefix = parts.path.rstrip("/")


class Transport:
    """Connects when first needed, and again when the connection broke.

    `timeout_s` bounds each wait for the server's next bytes, `connect_timeout_s` the wait for a connection.
    `compression` is gzip, zstd (with the package zstandard) or None.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 15.0,
        connect_timeout_s: float = 5.0,
        compression: str | None = "gzip",
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if compression is not None:
            compressor(compression)
        if not (key.isascii() and key.isprintable() and key):
            raise ValueError("the key is empty, or has characters that no key has")
        self._address, self._key, self._compression = Address(url), key, compression
        self._timeout_s, self._connect_timeout_s = timeout_s, connect_timeout_s
        self._ssl_context = ssl_context
        self._connection: http.client.HTTPConnection | None = None

    def send(self, events: Sequence[bytes], *, delivery: str = "") -> Outcome:
        """Posts the events, each a JSON object without a line break. `delivery`: "" lets the server's rules decide."""
        if delivery not in DELIVERIES:
            raise ValueError(f"delivery {delivery!r} is none of {DELIVERIES}")
        request = encode_request(
            events, self._key, delivery=delivery, compression=self._compression, prefix=self._address.prefix
        )
        is_reused = self._connection is not None
        try:
            try:
                return self._exchange(request, len(events))
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # A server closes what was idle for long; it is no sign that it is away.
                if not is_reused:
                    raise
                self.close()
                return self._exchange(request, len(events))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return no_answer(error)

    def close(self) -> None:
        """The next `send` connects anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """From another thread: a `send` that waits for an answer ends now, without one."""
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                pass

    def _exchange(self, request: Request, count: int) -> Outcome:
        connection = self._connected()
        try:
            connection.request("POST", request.target, request.body, dict(request.headers))
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse before it has read the body, and its answer is there to be read.
            pass
        response = connection.getresponse()
        body = response.read(_ANSWER_MAX_BYTES)
        if response.will_close or not response.isclosed():
            self.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return read_answer(response.status, headers, body, count)

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> http.client.HTTPConnection:
        host, port, wait_s = self._address.host, self._address.port, self._connect_timeout_s
        connection = (
            http.client.HTTPSConnection(host, port, timeout=wait_s, context=self._ssl_context)
            if self._address.is_tls
            else http.client.HTTPConnection(host, port, timeout=wait_s)
        )
        connection.connect()
        connection.sock.settimeout(self._timeout_s)
        return connection
