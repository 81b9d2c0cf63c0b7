"""A WebSocket in the place of an exchange (RFC 6455, wsproto): messages in are lines of a body, lines out are messages.

Sources; the loop's thread, one task a connection. A message may hold several lines; the end of one ends its last line.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Any, Protocol

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from ingest.dataplane.errors import BadRequest, StreamEnded
from ingest.sources.exchange import Exchange
from ingest.sources.wire import PIECES_A_TURN, Wire


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
        self._has_more = True
        self._is_within_message = False
        self._broken: StreamEnded | None = None
        self._goodbye = CloseConnection(code=1000)
        self._ping: Ping | None = None
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
        """What has arrived, b"" when the peer closes. Raises StreamEnded where the connection or a message breaks off.

        May be cut short where it waits: what was heard is given back before the next wait.
        """
        while not self._is_over:
            if self._has_more:
                await asyncio.sleep(0)  # whoever has more to say lets the others speak first
            else:
                await self._receive()
            if text := self._hear():
                return text
        if self._broken is not None:
            raise self._broken
        return b""

    async def say(self, text: bytes) -> None:
        """One line, as a message; nothing to a peer that has said goodbye."""
        if not self._has_peer_closed:
            await self._send(TextMessage(data=text.decode().removesuffix("\n")))

    async def finish(self) -> None:
        """Say goodbye, or answer the peer's (RFC 6455, 5.5.1)."""
        await self._send(self._goodbye)

    @property
    def _has_peer_closed(self) -> bool:
        return self._ws.state is ConnectionState.REMOTE_CLOSING

    async def _receive(self) -> None:
        if self._ping is not None:
            # Of several only the last one needs its answer (RFC 6455, 5.5.3).
            ping, self._ping = self._ping, None
            await self._send(ping.response())
        received = await self.wire.receive()
        if not received:
            raise StreamEnded("incomplete_body", "The connection was closed without a goodbye")
        self._ws.receive_data(received)

    def _hear(self) -> bytes:
        """What the next frames say; none of it where a fragment is empty, or ends within a character."""
        pieces: list[bytes] = []
        try:
            events = list(islice(self._ws.events(), PIECES_A_TURN))
        except RemoteProtocolError as error:
            raise StreamEnded("incomplete_body", f"The connection broke: {error}") from None
        self._has_more = len(events) == PIECES_A_TURN
        for event in events:
            if isinstance(event, Message):
                pieces.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
                if event.message_finished:
                    pieces.append(b"\n")
                self._is_within_message = not event.message_finished
            elif isinstance(event, Ping):
                self._ping = event
            elif isinstance(event, CloseConnection):
                self._close(event)
        return b"".join(pieces)

    def _close(self, goodbye: CloseConnection) -> None:
        """The peer's, or one of ours for what is not the protocol. Half a message is no line: it would pass for one."""
        self._is_over, self._goodbye = True, goodbye
        if not self._has_peer_closed:
            self._broken = StreamEnded("incomplete_body", f"The connection broke: {goodbye.reason}")
        elif self._is_within_message:
            self._broken = StreamEnded("incomplete_body", "The connection was closed within a message")

    async def _send(self, event: Event) -> None:
        try:
            text = self._ws.send(event)
        except LocalProtocolError as error:
            raise StreamEnded("incomplete_body", f"The connection is closed: {error}") from None
        await self.wire.write(text)
