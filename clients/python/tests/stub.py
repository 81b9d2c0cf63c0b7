"""A server on the loopback that answers as Forebay's API does, by a script, and keeps what it was asked."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, NamedTuple


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    events: list[Any]
    at_s: float

    @property
    def event_ids(self) -> list[str]:
        return [event["eventId"] for event in self.events]


class Answer(NamedTuple):
    status: int = 202
    body: Any = None  # None: everything is accepted
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    close: bool = False  # without an answer


REFUSED = Answer(503, {"code": "journal_full", "detail": "full"}, {"Retry-After": "1"})


class Stub:
    """Answers come from `script` while it has some, then from `otherwise`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Answer] = []
        self.otherwise = Answer()
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda asked: self.script.pop(0) if self.script else self.otherwise
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def events(self) -> list[Any]:
        return [event for asked in self.asked for event in asked.events]

    def wait_for(self, requests: int, deadline_s: float = 60.0) -> None:
        assert poll_until(lambda: len(self.asked) >= requests, deadline_s), f"{len(self.asked)} of {requests} requests"


def poll_until(condition: Callable[[], bool], deadline_s: float = 60.0) -> bool:
    """Whether the condition came true before the deadline."""
    give_up_s = time.monotonic() + deadline_s
    while not (met := condition()) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    return met


def all_accepted(asked: Asked) -> Any:
    body: dict[str, Any] = {"accepted": len(asked.events), "failed": 0}
    if asked.path.endswith("delivery=ack"):
        body["events"] = [
            {"index": at, "eventId": one["eventId"], "status": "Delivered", "topic": "t", "partition": 0, "offset": at}
            for at, one in enumerate(asked.events)
        ]
    return body


def _handler_of(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = self._asked()
            stub.asked.append(asked)
            answer = stub.answer(asked)
            time.sleep(answer.delay_s)
            if answer.close:
                self.close_connection = True
                return
            body = all_accepted(asked) if answer.body is None else answer.body
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self._answer(answer, content)
            except OSError:  # the client has given up
                self.close_connection = True

        def _asked(self) -> Asked:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            events = [json.loads(line) for line in body.splitlines()]
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Asked(self.path, headers, events, time.monotonic())

        def _answer(self, answer: Answer, content: bytes) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
