"""Control plane: a signed POST. Standard library only, for the supervisors send it too, without Django's ORM.

The signature is HMAC-SHA256 over `timestamp.body`, so that a receiver knows the sender and can refuse what is old.
"""

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO
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


_opener = urllib.request.build_opener(_NoRedirects)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of the signature header."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


def send(url: str, secret: str, timeout_s: float, message: Mapping[str, object], wall_s: float) -> None:
    """POST it as JSON; signed unless the secret is empty. Blocks up to `timeout_s`. Raises NotSent."""
    body, timestamp = json.dumps(message).encode(), str(int(wall_s))
    headers = {"Content-Type": "application/json", "User-Agent": "Forebay", TIMESTAMP_HEADER: timestamp}
    if secret:
        headers[SIGNATURE_HEADER] = sign(secret, timestamp, body)
    try:
        _opener.open(_request(url, body, headers), timeout=timeout_s).close()
    except urllib.error.HTTPError as refused:
        refused.close()
        raise NotSent(f"it answered {refused.code} {refused.reason}") from refused
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotSent(str(error) or type(error).__name__) from error


def _request(url: str, body: bytes, headers: dict[str, str]) -> urllib.request.Request:
    """Raises NotSent, and ValueError for what is no URL at all."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotSent("the URL must begin with http:// or https://")
    return urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - checked above
