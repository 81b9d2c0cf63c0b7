"""A WebSocket's messages as lines, however frames and packets are cut, and whatever is asked between them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, Request, TextMessage

from ingest.dataplane.errors import StreamEnded
from ingest.sources.exchange import Exchange
from ingest.sources.websocket import WebSocket
from ingest.sources.wire import PIECES_A_TURN, Wire
from tests.unit.sources.connection_world import DEADLINE_S, connected, turns_of_others


def frames(*events: Event) -> bytes:
    """As a client writes them."""
    client = Connection(ConnectionType.CLIENT)
    return b"".join(client.send(event) for event in events)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[WebSocket, Wire, socket.socket]]:
    """After the handshake, whose answer was read."""
    async with connected() as (wire, peer):
        client = WSConnection(ConnectionType.CLIENT)
        await asyncio.get_running_loop().sock_sendall(peer, client.send(Request(host="h", target="/")))
        exchange = Exchange(wire)
        await exchange.head()
        web_socket = WebSocket(exchange)
        await web_socket.begin(200, "application/x-ndjson")
        client.receive_data(peer.recv(10_000))
        yield web_socket, wire, peer


async def soon(web_socket: WebSocket) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        return await web_socket.read()


async def cut_short(web_socket: WebSocket) -> None:
    """As a window does whose time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            raise AssertionError(f"there was nothing to read, and yet came {await web_socket.read()!r}")


async def passed() -> None:
    """What the loop has to do is done."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_pong_that_the_peer_does_not_read_costs_no_message() -> None:
    async def talk() -> tuple[list[bytes], bytes]:
        async with opened() as (web_socket, wire, peer):
            loop = asyncio.get_running_loop()
            unread = b"x" * (4 << 20)
            wire._writer.write(unread)  # from now on a write waits for the peer to read
            await loop.sock_sendall(
                peer, frames(TextMessage(data='{"n":1}'), Ping(payload=b"p"), TextMessage(data='{"n":2}'))
            )
            heard = [await soon(web_socket)]
            await cut_short(web_socket)
            await loop.sock_sendall(peer, frames(TextMessage(data='{"n":3}')))
            heard.append(await soon(web_socket))
            pong = Connection(ConnectionType.SERVER).send(Pong(payload=b"p"))
            said = b""
            while len(said) < len(unread) + len(pong):
                said += await asyncio.wait_for(loop.sock_recv(peer, 1 << 20), DEADLINE_S)
            return heard, said[len(unread) :]

    heard, answered = asyncio.run(talk())

    assert heard == [b'{"n":1}\n{"n":2}\n', b'{"n":3}\n']
    assert answered == Connection(ConnectionType.SERVER).send(Pong(payload=b"p"))


def test_what_says_nothing_yet_is_not_the_end() -> None:
    message = frames(TextMessage(data="", message_finished=False), TextMessage(data="é"))
    pieces = [message[:6], message[6:-1], message[-1:], frames(BytesMessage(data=b"x" * 200))[:8]]

    async def talk() -> tuple[bytes, bool]:
        async with opened() as (web_socket, wire, _):
            reading = asyncio.create_task(soon(web_socket))
            for piece in pieces[:-1]:
                assert not reading.done()
                wire._reader.feed_data(piece)
                await passed()
            heard, reading = await reading, asyncio.create_task(soon(web_socket))
            wire._reader.feed_data(pieces[-1])
            await passed()
            is_over = reading.done()
            reading.cancel()
            return heard, is_over

    assert asyncio.run(talk()) == ("é\n".encode(), False)


def test_tiny_frames_leave_the_others_their_turn() -> None:
    turns = 10
    text = frames(*[BytesMessage(data=b"x", message_finished=False)] * PIECES_A_TURN * turns)

    async def talk() -> tuple[int, int]:
        async with opened() as (web_socket, _, peer):
            await asyncio.get_running_loop().sock_sendall(peer, text)
            heard = others = 0
            while heard < PIECES_A_TURN * turns:
                reading = asyncio.create_task(soon(web_socket))
                others += await turns_of_others(reading)
                heard += len(reading.result())
            return heard, others

    heard, others = asyncio.run(talk())

    assert heard == PIECES_A_TURN * turns
    assert others >= turns


# Masked with zeros: the text of a message in one frame.
NOT_UTF_8 = b"\x81\x81\0\0\0\0\xff"


@pytest.mark.parametrize(
    ("last", "heard"),
    [
        (frames(TextMessage(data="{", message_finished=False), CloseConnection(code=1000)), b'{"n":1}\n{'),
        (NOT_UTF_8, b'{"n":1}\n'),
    ],
    ids=["by a goodbye", "where it is not UTF-8"],
)
def test_a_message_that_breaks_off_is_not_ended(last: bytes, heard: bytes) -> None:
    async def talk() -> bytes:
        async with opened() as (web_socket, _, peer):
            await asyncio.get_running_loop().sock_sendall(peer, frames(TextMessage(data='{"n":1}')) + last)
            said = await soon(web_socket)
            with pytest.raises(StreamEnded) as broken:
                await soon(web_socket)
            assert broken.value.code == "incomplete_body"
            return said

    assert asyncio.run(talk()) == heard
