"""A request's head and body, as senders with something up their sleeve write them."""

import asyncio

import pytest

from ingest.api.addresses import client_address, networks
from ingest.sources.exchange import Environ, Exchange
from ingest.sources.wire import PIECES_A_TURN
from tests.unit.sources.connection_world import connected, turns_of_others

HEAD = b"POST /api/logs/stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"


def environ_of(*lines: bytes) -> Environ:
    async def asked() -> Environ:
        async with connected() as (wire, peer):
            peer.sendall(HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
            return await Exchange(wire).head()

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("lines", "name", "text"),
    [
        ([b"X-API-Key: real", b"X_API_KEY: other"], "HTTP_X_API_KEY", "real"),
        ([b"X_API_KEY: other"], "HTTP_X_API_KEY", None),
        ([b"X-Forwarded-For: 203.0.113.9", b"x_forwarded-for: 192.0.2.1"], "HTTP_X_FORWARDED_FOR", "203.0.113.9"),
        (
            [b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 203.0.113.9"],
            "HTTP_X_FORWARDED_FOR",
            "192.0.2.1,203.0.113.9",
        ),
    ],
)
def test_a_header_is_what_its_own_name_says(lines: list[bytes], name: str, text: str | None) -> None:
    assert environ_of(*lines).get(name) == text


def test_an_address_is_the_last_hop_of_all_lines_that_a_trusted_proxy_hands_on() -> None:
    environ = environ_of(b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 203.0.113.9, 10.0.0.7") | {
        "REMOTE_ADDR": "10.0.0.1"
    }

    assert client_address(environ, networks(["10.0.0.0/8"])) == "203.0.113.9"


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
