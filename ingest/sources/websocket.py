"""A WebSocket in the place of an exchange (RFC 6455, wsproto): messages in are lines of a body, lines out are messages.

Sources; the loop's thread, one task a connection. A message may hold several lines; the end of one ends its last line.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from ingest.dataplane.errors import BadRequest, StreamEnded
from ingest.sources.exchange import Exchange
from ingest.sources.wire import Wire


class Peer(Protocol):
    """Whom a stream speaks with: an exchange, or a WebSocket in its place."""

    wire: Wire

    async def read(self) -> bytes: ...
    async def begin(self, status: int, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> None: ...
    async def say(self, text: bytes) -> None: ...
    async def finish(self) -> None: ...


def is_websocket(environ: Mapping[str, Any]) -> bool:
    """Whether a request asks for one."""
    return str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"


class WebSocket:
    """From the request that asks for it on."""

    def __init__(self, exchange: Exchange) -> None:
        """Raises BadRequest for a handshake that is none."""
        request = exchange.request
        assert request is not None  # noqa: S101 - an exchange whose head was read
        self.wire = exchange.wire
        self._ws = WSConnection(ConnectionType.SERVER)
        self._unread = exchange.unread()
        self._is_over = False
        try:
            self._ws.initiate_upgrade_connection(list(request.headers), request.target.decode("latin-1"))
        except (RemoteProtocolError, LocalProtocolError) as error:
            raise BadRequest("invalid_handshake", f"This is no WebSocket's handshake: {error}") from None

    async def begin(self, status: int, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Accept it."""
        await self._send(AcceptConnection(extra_headers=[(name.encode(), value.encode()) for name, value in headers]))
        if self._unread:
            self._ws.receive_data(self._unread)

    async def read(self) -> bytes:
        """What has arrived, b"" when the peer closes. Raises StreamEnded where the connection breaks."""
        pieces: list[bytes] = []
        while not pieces and not self._is_over:
            try:
                for event in self._ws.events():
                    pieces += await self._heard(event)
                if not pieces and not self._is_over:
                    await self._receive()
            except RemoteProtocolError as error:
                raise StreamEnded("incomplete_body", f"The connection broke: {error}") from None
        return b"".join(pieces)

    async def say(self, text: bytes) -> None:
        """One line, as a message."""
        await self._send(TextMessage(data=text.decode().removesuffix("\n")))

    async def finish(self) -> None:
        """Say goodbye, unless the peer has."""
        if not self._is_over:
            await self._send(CloseConnection(code=1000))

    async def _receive(self) -> None:
        received = await self.wire.receive()
        if not received:
            raise StreamEnded("incomplete_body", "The connection was closed without a goodbye")
        self._ws.receive_data(received)

    async def _heard(self, event: Event) -> list[bytes]:
        if isinstance(event, Message):
            text = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
            return [text, b"\n"] if event.message_finished else [text]
        if isinstance(event, Ping):
            await self._send(event.response())
        elif isinstance(event, CloseConnection):
            self._is_over = True
        return []

    async def _send(self, event: Event) -> None:
        try:
            text = self._ws.send(event)
        except LocalProtocolError as error:
            raise StreamEnded("incomplete_body", f"The connection is closed: {error}") from None
        await self.wire.write(text)
