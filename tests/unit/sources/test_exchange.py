"""A request's head and body, as senders with something up their sleeve write them."""

import asyncio

from ingest.sources.exchange import Exchange
from ingest.sources.wire import PIECES_A_TURN
from tests.unit.sources.connection_world import connected, turns_of_others

HEAD = b"POST /api/logs/stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"


def test_tiny_chunks_leave_the_others_their_turn_and_lose_nothing() -> None:
    turns = 10
    body = bytes(number % 251 for number in range(PIECES_A_TURN * turns))

    async def talk() -> tuple[bytes, int]:
        async with connected() as (wire, peer):
            exchange = Exchange(wire)
            peer.sendall(HEAD + b"\r\n")
            await exchange.head()
            await asyncio.get_running_loop().sock_sendall(peer, b"".join(b"1\r\n%c\r\n" % byte for byte in body))
            heard, others = b"", 0
            while len(heard) < len(body):
                reading = asyncio.create_task(exchange.read())
                others += await turns_of_others(reading)
                heard += reading.result()
            return heard, others

    heard, others = asyncio.run(talk())

    assert heard == body
    assert others >= turns


def test_a_read_that_is_cut_short_loses_nothing() -> None:
    count = PIECES_A_TURN * 3

    async def talk() -> bytes:
        async with connected() as (wire, peer):
            exchange = Exchange(wire)
            peer.sendall(HEAD + b"\r\n")
            await exchange.head()
            await asyncio.get_running_loop().sock_sendall(peer, b"1\r\nx\r\n" * count)
            heard = b""
            while len(heard) < count:
                heard += await exchange.read()
                reading = asyncio.create_task(exchange.read())
                await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading])
                if not reading.cancelled():
                    heard += reading.result()
            return heard

    assert asyncio.run(talk()) == b"x" * count
