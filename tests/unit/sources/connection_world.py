"""Both ends of one connection without a listener: Forebay's a Wire, the other a socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.sources.wire import READ_BYTES, Wire

DEADLINE_S = 20.0


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Wire, socket.socket]]:
    """The peer's socket does not block."""
    here, there = socket.socketpair()
    there.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=here, limit=READ_BYTES // 2)
    try:
        yield Wire(reader, writer, DEADLINE_S), there
    finally:
        writer.transport.abort()
        there.close()


async def turns_of_others(task: "asyncio.Task[bytes]") -> int:
    """How often something else on the loop has its turn until the task is done."""
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    return turns
