"""Who gets the alerts in tests: a web server and a mail server of the test's own, on loopback, that keep what comes."""

import json
import socketserver
import threading
from email import message_from_string
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Received:
    """One POST, as it came."""

    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        self.headers, self.body = headers, body

    @property
    def message(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self.body)
        return read


class _Server:
    """Serves on a thread of its own from entering to leaving."""

    def __init__(self, server: socketserver.BaseServer) -> None:
        self._server = server
        self.port: int = server.server_address[1]  # type: ignore[index,assignment]  # of an IPv4 server

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class WebhookReceiver(_Server):
    """Answers every POST with `status`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 204
        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), self._request_class()))
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def _request_class(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Request(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(Received(dict(self.headers), body))
                self.send_response(receiver.status)
                if receiver.status == 302:
                    self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the terminal of the tests."""

        return Request


class MailReceiver(_Server):
    """As much of SMTP as a client without TLS and login needs; refuses every recipient while `refuses`."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.refuses = False
        super().__init__(socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._session_class()))

    def _session_class(self) -> type[socketserver.BaseRequestHandler]:
        receiver = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._answer("220 ready")
                while line := self.rfile.readline().strip().upper():
                    if line == b"DATA":
                        self._answer("354 go on")
                        receiver.received.append(message_from_string(self._text()))
                        self._answer("250 taken")
                    elif line == b"QUIT":
                        self._answer("221 bye")
                        return
                    else:
                        refused = receiver.refuses and line.startswith(b"RCPT")
                        self._answer("550 nobody here" if refused else "250 ok")

            def _text(self) -> str:
                lines = []
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line.removeprefix(".") if line.startswith("..") else line)
                return "\n".join(lines)

            def _answer(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        return Session
