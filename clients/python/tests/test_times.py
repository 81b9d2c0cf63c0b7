"""A send's time covers all of it, however its waits follow each other."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Callable

import pytest
from conftest import MakeClient
from test_tls import CERTIFICATE

from forebay_client import Event, Unacknowledged

# How long a server goes on that nobody leaves; a client that is in time left it long before.
DRIP_S = 20.0

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
