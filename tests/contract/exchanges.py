"""Recorded exchanges: what a client sends, what it is answered, and the records that come of it.

A recording is JSON in `exchanges/`. What differs from run to run is written as a name in angle brackets: `<now>` for a
time of arrival, `<sent>` for the second of a timestamp that was sent, `<id>` for a made UUIDv7, `<trace>` for a made
correlation id, `<peer>` for the client's address.
"""

import base64
import io
import json
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from http.client import responses
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.types import WSGIApplication

from tests.contract.cast import KEYS

FOLDER = Path(__file__).parent / "exchanges"
# Ours to promise; a server or a middleware may add others.
DECLARED = (
    "Content-Type",
    "X-Correlation-ID",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "WWW-Authenticate",
    "Allow",
    "Idempotency-Status",
)

_NOW = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_SENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.\d{9}Z)")  # its nanoseconds are recorded
_MADE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_MADE_TRACE = re.compile(r"(?!4bf92f35)[0-9a-f]{32}")  # but for the one that a recording sends


class Answer(NamedTuple):
    """What a client sees."""

    status: int
    headers: dict[str, str]
    body: Any


class Exchange(NamedTuple):
    """One recording."""

    name: str
    request: dict[str, Any]
    answer: dict[str, Any]
    records: list[dict[str, Any]]

    @property
    def body(self) -> bytes:
        text = self.request.get("body", "")
        if "body_base64" in self.request:
            return base64.b64decode(self.request["body_base64"])
        return text.encode() if isinstance(text, str) else json.dumps(text, separators=(",", ":")).encode()


def recorded() -> Iterable[Exchange]:
    """All recordings; a time in a request may be said as `<in 5 s>` or `<700 s ago, in ms>`."""
    for path in sorted(FOLDER.glob("*.json")):
        for found in json.loads(path.read_text()):
            yield Exchange(f"{path.stem}: {found['name']}", found["request"], found["answer"], found.get("records", []))


def environ_of(
    method: str, path: str, body: bytes, headers: dict[str, str], *, query: str = "", peer: str, chunked: bool = False
) -> dict[str, Any]:
    """A request as a WSGI server hands it over (PEP 3333)."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": peer,
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body and not chunked:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers.items():
        plain = name.upper().replace("-", "_")
        environ[plain if plain in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{plain}"] = value
    return environ


def call(application: WSGIApplication, environ: dict[str, Any]) -> Answer:
    """Status, declared headers, and the body, decoded where it is JSON."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Callable[..., object]:
        started.append((status, headers))
        return lambda piece: None

    body = b"".join(application(environ, start_response))
    ((line, headers),) = started
    status = int(line.partition(" ")[0])
    assert line == f"{status} {responses[status]}"
    declared = {name: value for name, value in headers if name in DECLARED}
    assert len(declared) == sum(name in DECLARED for name, _ in headers)
    return Answer(status, declared, json.loads(body) if body[:1] in (b"{", b"[") else body.decode())


def send(application: WSGIApplication, exchange: Exchange, peer: str) -> Answer:
    """The recorded request, from an address of its own."""
    request = exchange.request
    headers = dict(request.get("headers", {}))
    if "key" in request:
        headers["Authorization"] = f"Bearer {KEYS[request['key']]}"
    environ = environ_of(
        request.get("method", "POST"),
        request["path"],
        _timed(exchange.body),
        headers,
        query=request.get("query", ""),
        peer=request.get("peer", peer),
    )
    return call(application, environ)


def normalised(found: Any, peer: str, *, name: str = "") -> Any:
    """The same with everything that differs from run to run replaced by what it is."""
    if isinstance(found, Answer):
        return {
            "status": found.status,
            "headers": normalised(found.headers, peer),
            "body": normalised(found.body, peer),
        }
    if isinstance(found, dict):
        return {field: normalised(value, peer, name=field) for field, value in found.items()}
    if isinstance(found, list):
        return [normalised(value, peer) for value in found]
    if name in ("offset", "reset_s") and isinstance(found, int | float):
        return f"<{name}>"
    if not isinstance(found, str):
        return found
    if name in ("RateLimit", "Retry-After"):
        return re.sub(r"\d{3,}", "<wait>", found)
    found = _SENT.sub("<sent>", _NOW.sub("<now>", found.replace(peer, "<peer>")))
    return _MADE_TRACE.sub("<trace>", _MADE_ID.sub("<id>", found))


def _timed(body: bytes) -> bytes:
    """Times in a request, relative to now."""
    now = datetime.now(UTC)

    def text(match: re.Match[bytes]) -> bytes:
        at = now + timedelta(seconds=int(match[1]))
        return f"{at:%Y-%m-%dT%H:%M:%S}".encode()

    def milliseconds(match: re.Match[bytes]) -> bytes:
        return str(int((now.timestamp() + int(match[1])) * 1000)).encode()

    body = re.sub(rb'"<epoch ms (-?\d+) s>"', milliseconds, body)
    return re.sub(rb"<(-?\d+) s>", text, body)
