"""Both clients over TLS: a server that the context trusts gets the events, another gets nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeClient
from stub import Stub

from forebay_client import AsyncClient, Event
from forebay_client.async_transport import AsyncTransport
from forebay_client.transport import Transport

# Signed by itself, for 127.0.0.1; with its key.
CERTIFICATE = Path(__file__).parent / "tls.pem"


@pytest.fixture
def secure() -> Iterator[Stub]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = Stub(context)
    yield server
    server.close()


@pytest.fixture
def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def test_a_trusted_server_gets_the_events(secure: Stub, trusting: ssl.SSLContext, make_client: MakeClient) -> None:
    client = make_client(url=secure.url, ssl_context=trusting)

    client.send_nowait(Event("forgotten"))
    assert client.send(Event("acknowledged")).status == "Delivered"
    assert client.flush(20)

    assert {event["message"] for event in secure.events} == {"forgotten", "acknowledged"}


def test_another_server_gets_nothing(secure: Stub) -> None:
    outcome = Transport(secure.url, "k").send([b"{}"])

    assert (outcome.code, outcome.retry_after_s) == ("no_answer", 0.0)
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.detail
    assert secure.asked == []


def test_asyncio_does_the_same(secure: Stub, trusting: ssl.SSLContext) -> None:
    async def main() -> None:
        async with AsyncClient(secure.url, "k", source="s", ssl_context=trusting) as client:
            assert (await client.send(Event("m"))).status == "Delivered"
        assert "CERTIFICATE_VERIFY_FAILED" in (await AsyncTransport(secure.url, "k").send([b"{}"])).detail

    asyncio.run(main())
    assert len(secure.events) == 1
