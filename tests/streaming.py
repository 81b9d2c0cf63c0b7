"""A plain client of `POST /api/logs/stream`: a socket and http.client, none of Forebay's code."""

import http.client
import json
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

Line = dict[str, Any]


class StreamClient:
    """One connection. The answer is read line by line while events are sent; a wait of 30 s for a line fails."""

    def __init__(self, port: int, key: str, query: str = "", *, timeout_s: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        head = (
            f"POST /api/logs/stream{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self._response = http.client.HTTPResponse(self.socket, method="POST")
        self._response.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._response.close()
        self.socket.close()

    @property
    def status(self) -> int:
        return self._response.status

    def body(self) -> Line:
        """Of an answer that is no stream."""
        return dict(json.loads(self._response.read()))

    def send(self, events: Iterable[Line]) -> None:
        self.send_bytes(b"".join(json.dumps(one).encode() + b"\n" for one in events))

    def send_bytes(self, text: bytes) -> None:
        """As one chunk."""
        self.socket.sendall(f"{len(text):x}\r\n".encode() + text + b"\r\n")

    def finish(self) -> None:
        """The end of the body."""
        self.socket.sendall(b"0\r\n\r\n")

    def read(self) -> Line | None:
        """The next line of the answer; None at its end."""
        text = self._response.readline()
        return dict(json.loads(text)) if text else None

    def read_until(self, kind: str, **fields: Any) -> list[Line]:
        """Lines up to and with the first of a kind that has these fields."""
        lines: list[Line] = []
        while (line := self.read()) is not None:
            lines.append(line)
            if line["type"] == kind and fields.items() <= line.items():
                return lines
        raise AssertionError(f"the answer ended without {kind} {fields}: {lines}")

    def cut(self) -> None:
        """The connection is gone at once, with whatever is on its way."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._response.close()
        self.socket.close()
