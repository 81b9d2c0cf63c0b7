"""One HTTP request on one connection: its body piece by piece while the answer is under way (h11).

Sources; the loop's thread, one task a connection. A connection serves one request and is closed: these are long-lived.
"""

import asyncio
from http import HTTPStatus
from http.client import responses
from typing import Any

import h11

from ingest.api.answers import Answer
from ingest.dataplane.errors import StreamEnded
from ingest.sources.wire import PIECES_A_TURN, Wire

Environ = dict[str, Any]


class Exchange:
    """The request's side is read, the answer's written. `request` is there once `head` has returned."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.request: h11.Request | None = None
        self._h11 = h11.Connection(h11.SERVER)
        self._is_over = False
        self._has_more = True

    async def head(self) -> Environ:
        """The request as a WSGI environ without its body. Raises StreamEnded, and h11.RemoteProtocolError for what is
        not HTTP."""
        while not isinstance(event := self._h11.next_event(), h11.Request):
            if event is not h11.NEED_DATA:
                raise StreamEnded("incomplete_body", "The connection was closed before a request came")
            self._h11.receive_data(await self.wire.receive())
        self.request = event
        path, _, query = event.target.partition(b"?")
        environ = {
            "REQUEST_METHOD": event.method.decode(),
            "PATH_INFO": path.decode("latin-1"),
            "QUERY_STRING": query.decode("latin-1"),
            "REMOTE_ADDR": self.wire.peer_address,
        }
        for name, value in event.headers:
            _add_header(environ, name.decode(), value.decode("latin-1"))
        return environ

    async def read(self) -> bytes:
        """What has arrived of the body, b"" at its end. Raises StreamEnded where the connection breaks.

        May be cut short where it waits: what was parsed is given back before the next wait.
        """
        while not self._is_over:
            if self._has_more:
                await asyncio.sleep(0)  # whoever has more to say lets the others speak first
            else:
                self._h11.receive_data(await self.wire.receive())
            if text := self._parse():
                return text
        return b""

    async def answer(self, answer: Answer) -> None:
        """A whole answer, with its end."""
        await self.begin(
            answer.status, answer.content_type, (*answer.headers, ("Content-Length", str(len(answer.body))))
        )
        await self.say(answer.body)
        await self.finish()

    async def begin(self, status: int, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """The head of an answer; without a length among the headers it is chunked, and flows as it is said."""
        if status == HTTPStatus.OK and self._h11.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))
        lines = [("Content-Type", content_type), *headers, ("Connection", "close")]
        await self._send(h11.Response(status_code=status, reason=responses.get(status, "").encode(), headers=lines))

    async def say(self, text: bytes) -> None:
        """More of the answer. Raises StreamEnded when the peer does not read, or is gone."""
        await self._send(h11.Data(data=text))

    async def finish(self) -> None:
        """The end of the answer."""
        await self._send(h11.EndOfMessage())

    def unread(self) -> bytes:
        """What came behind the head and is not HTTP any more."""
        return self._h11.trailing_data[0]

    def _parse(self) -> bytes:
        """The body in the next chunks; a connection that has more than a turn of them goes on with its next one."""
        pieces: list[bytes] = []
        try:
            while len(pieces) < PIECES_A_TURN and isinstance(event := self._h11.next_event(), h11.Data):
                pieces.append(event.data)
        except h11.RemoteProtocolError as error:
            raise StreamEnded("incomplete_body", f"The body broke off: {error}") from None
        self._has_more = isinstance(event, h11.Data)
        self._is_over = not self._has_more and event is not h11.NEED_DATA
        return b"".join(pieces)

    async def _send(self, event: h11.Event) -> None:
        text = self._h11.send(event)
        if text:
            await self.wire.write(text)


def _add_header(environ: Environ, name: str, text: str) -> None:
    if "_" not in name:  # or it would pass for the one with hyphens, which a proxy in front has checked
        key = f"HTTP_{name.upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{text}" if key in environ else text
