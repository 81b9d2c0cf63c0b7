"""A send's time covers all of it, however its waits follow each other; and a cancelled send ends."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Iterator
from typing import Callable

import pytest
from conftest import MakeClient
from test_tls import CERTIFICATE

from forebay_client import AsyncClient, Event, Unacknowledged
from forebay_client.within import within

# How long a server goes on that nobody leaves; a client that is in time left it long before.
DRIP_S = 20.0
SENDS = 120

Drip = Callable[[bytes], str]


@pytest.fixture
def drip() -> Iterator[Drip]:
    """Makes a server that answers anything with the bytes given, and then with one byte after the other."""
    with contextlib.ExitStack() as opened:

        def dripping(begin: bytes) -> str:
            server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=_drip, args=(server, begin))
            thread.start()
            opened.callback(thread.join)
            return f"http://127.0.0.1:{server.getsockname()[1]}"

        yield dripping


def _drip(server: socket.socket, begin: bytes) -> None:
    with server.accept()[0] as peer:
        peer.recv(1 << 16)
        peer.sendall(begin)
        end_s = time.monotonic() + DRIP_S
        with contextlib.suppress(OSError):  # the client has left
            while time.monotonic() < end_s:
                peer.sendall(b"1")
                time.sleep(0.05)


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 202 Accepted\r\nX-Slow: ", b"HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n"],
    ids=["headers", "body"],
)
def test_an_answer_that_comes_byte_by_byte_lasts_no_longer_than_the_sends_time(
    drip: Drip, make_client: MakeClient, begin: bytes
) -> None:
    client = make_client(url=drip(begin))

    began_s = time.monotonic()
    with pytest.raises(Unacknowledged, match="timed out"):
        client.send(Event("m"), timeout_s=0.5)

    assert time.monotonic() - began_s < DRIP_S / 2


def test_a_handshake_that_nobody_answers_lasts_no_longer_than_the_sends_time(make_client: MakeClient) -> None:
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        client = make_client(url=url, ssl_context=context, connect_timeout_s=60, timeout_s=60)

        began_s = time.monotonic()
        with pytest.raises(Unacknowledged, match="timed out"):
            client.send(Event("m"), timeout_s=0.5)

    assert time.monotonic() - began_s < 30


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes a request and gives no answer until the client leaves."""
    try:
        with contextlib.suppress(OSError):
            while await reader.read(1 << 16):
                pass
    finally:
        writer.close()


async def _all_end(send: Callable[[AsyncClient, float], Awaitable[str]]) -> set[str]:
    """How sends ended whose given times lie within what a connection takes to be made. None may be going on."""
    server = await asyncio.start_server(_hold, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    clients = [AsyncClient(url, "k", source="s", timeout_s=60) for _ in range(SENDS)]
    sends = [asyncio.ensure_future(send(client, random.uniform(0.002, 0.05))) for client in clients]
    ended, late = await asyncio.wait(sends, timeout=20)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for client in clients:
        await client.close()
    server.close()
    print(f"{len(late)} of {SENDS} sends went on after their end")
    assert not late
    return {task.result() for task in ended}


def test_an_async_send_whose_time_ends_while_it_connects_does_not_go_on() -> None:
    async def send(client: AsyncClient, ends_s: float) -> str:
        try:
            await client.send(Event("m"), timeout_s=ends_s)
        except Unacknowledged as error:
            return error.outcome.code
        return "answered"

    assert asyncio.run(_all_end(send)) == {"no_answer"}


def test_an_async_send_that_is_cancelled_while_it_connects_does_not_go_on() -> None:
    async def send(client: AsyncClient, ends_s: float) -> str:
        sending = asyncio.ensure_future(client.send(Event("m"), timeout_s=60))
        await asyncio.sleep(ends_s)
        sending.cancel()
        await asyncio.wait({sending})
        return "cancelled" if sending.cancelled() else "went on"

    assert asyncio.run(_all_end(send)) == {"cancelled"}


@pytest.mark.parametrize("turns", range(4))
def test_a_cancellation_that_comes_with_the_result_is_not_lost(turns: int) -> None:
    async def main() -> None:
        connected = asyncio.get_running_loop().create_future()

        async def connect() -> None:
            await connected

        async def use() -> None:
            await within(connect(), 60)
            await asyncio.sleep(60)

        using = asyncio.ensure_future(use())
        for _ in range(5):
            await asyncio.sleep(0)
        connected.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        using.cancel()

        assert await asyncio.wait({using}, timeout=20) == ({using}, set())
        assert using.cancelled()

    asyncio.run(main())
