"""A listener beside the worker in this process, and a plain request to it."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from forebay.local.ports import free_port
from ingest.sources.listener import Listener
from ingest.worker import Worker
from tests.programs import poll_until

EVENT = {"source": "s", "level": "INFO", "message": "m"}
DEADLINE_S = 20.0


@contextmanager
def listening(node: Worker, **chosen: Any) -> Iterator[int]:
    """A listener on a port of its own, with these settings; drained at the end."""
    chosen = {"FOREBAY_LISTEN_PORT": free_port(), **chosen}
    before = {name: getattr(settings, name) for name in chosen}
    for name, value in chosen.items():
        setattr(settings, name, value)
    begun, loops = threading.Event(), list[asyncio.AbstractEventLoop]()
    listener = Listener(node)

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        loops[0].call_soon(begun.set)
        await listener.run()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="listener")
    thread.start()
    try:
        assert begun.wait(DEADLINE_S)
        assert poll_until(lambda: answers(settings.FOREBAY_LISTEN_PORT), DEADLINE_S)
        yield settings.FOREBAY_LISTEN_PORT
    finally:
        loops[0].call_soon_threadsafe(listener.stop)
        thread.join(DEADLINE_S)
        for name, value in before.items():
            setattr(settings, name, value)
        assert not thread.is_alive()


def answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/health/live")[0] == 200
    except OSError:
        return False


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
