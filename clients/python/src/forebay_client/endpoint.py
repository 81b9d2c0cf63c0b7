"""Where events go and how: the server's address, the key and the waits, for threads and for asyncio alike. Pure."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from forebay_client.wire import DELIVERIES, Request, compressor, encode_request

# Ten thousand rejected events with their details.
ANSWER_MAX_BYTES = 16 << 20


class Endpoint:
    """Raises ValueError for a URL, a key or a compression that cannot be used.

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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL such as https://logs.example.com")
        if not (key.isascii() and key.isprintable() and key):
            raise ValueError("the key is empty, or has characters that no key has")
        if compression is not None:
            compressor(compression)
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.is_tls else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self.timeout_s, self.connect_timeout_s = timeout_s, connect_timeout_s
        self.ssl_context = ssl_context
        self._key, self._compression, self._prefix = key, compression, parts.path.rstrip("/")

    def request(self, events: Sequence[bytes], delivery: str) -> Request:
        """One batch. Raises ValueError for a delivery that is none."""
        if delivery not in DELIVERIES:
            raise ValueError(f"delivery {delivery!r} is none of {DELIVERIES}")
        return encode_request(events, self._key, delivery=delivery, compression=self._compression, prefix=self._prefix)
