"""Control plane: a signed POST. Standard library only, for the supervisors send it too, without Django's ORM.

The signature is HMAC-SHA256 over `timestamp.body`, so that a receiver knows the sender and can refuse what is old.
"""

import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

SIGNATURE_HEADER = "X-Forebay-Signature"
TIMESTAMP_HEADER = "X-Forebay-Timestamp"


class NotSent(Exception):
    """The receiver was not reached, or did not take it; the text says why."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without a body, and look as if it were taken."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> None:
        return None


class _Deadline:
    """Ends a connection after `timeout_s`. The socket's own timeout begins anew with each byte that comes."""

    def __init__(self, timeout_s: float) -> None:
        self._connections: list[http.client.HTTPConnection] = []
        self._timer = threading.Timer(timeout_s, self._cut)
        self._timer.daemon = True
        self.has_passed = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()

    def watch(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
        self._connections.append(connection)
        return connection

    def _cut(self) -> None:
        self.has_passed = True
        for connection in self._connections:
            # The socket below TLS: it is another thread that reads.
            with contextlib.suppress(OSError, AttributeError):
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


class _Watched(urllib.request.AbstractHTTPHandler):
    """Makes connections that a deadline can end."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> Any:
        def watched(host: str, **rest: Any) -> http.client.HTTPConnection:
            return self._deadline.watch(http_class(host, **rest))

        return super().do_open(watched, req, **options)


class _Http(_Watched, urllib.request.HTTPHandler):
    """http://"""


class _Https(_Watched, urllib.request.HTTPSHandler):
    """https://"""


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of the signature header."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


def send(url: str, secret: str, timeout_s: float, message: Mapping[str, object], wall_s: float) -> None:
    """POST it as JSON; signed unless the secret is empty. Blocks up to `timeout_s`, and as long again for a name or an
    address that does not answer. Raises NotSent."""
    body, timestamp = json.dumps(message).encode(), str(int(wall_s))
    headers = {"Content-Type": "application/json", "User-Agent": "Forebay", TIMESTAMP_HEADER: timestamp}
    if secret:
        headers[SIGNATURE_HEADER] = sign(secret, timestamp, body)
    with _Deadline(timeout_s) as deadline:
        opener = urllib.request.build_opener(_NoRedirects, _Http(deadline), _Https(deadline))
        try:
            opener.open(_request(url, body, headers), timeout=timeout_s).close()
        except urllib.error.HTTPError as refused:
            refused.close()
            raise NotSent(f"it answered {refused.code} {refused.reason}") from refused
        except (OSError, ValueError, http.client.HTTPException) as error:
            late = _late(timeout_s) if deadline.has_passed else ""
            raise NotSent(late or str(error) or type(error).__name__) from error
        # An answer that was cut within its headers looks whole.
        if deadline.has_passed:
            raise NotSent(_late(timeout_s))


def _late(timeout_s: float) -> str:
    return f"no answer within {timeout_s:g} s"


def _request(url: str, body: bytes, headers: dict[str, str]) -> urllib.request.Request:
    """Raises NotSent, and ValueError for what is no URL at all."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotSent("the URL must begin with http:// or https://")
    return urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - checked above
