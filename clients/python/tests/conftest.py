"""A stub of Forebay's API for each test, and clients of it that are closed after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import pytest
from stub import Stub

from forebay_client import Client

MakeClient = Callable[..., Client]


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def make_client(stub: Stub) -> Iterator[MakeClient]:
    """Of the stub, with a short linger; arguments are Client's."""
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        named: dict[str, Any] = {"source": "shop", "linger_s": 0.02, **options}
        client = Client(named.pop("url", stub.url), "fb_key", **named)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close(0)
