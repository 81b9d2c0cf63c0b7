"""Keep-alive HTTP/1.1 connections of a load generator, as thin as they can be: a request's bytes out, a status back.

For the client's process; one thread with its event loop.
"""

import asyncio
from collections import deque
from typing import Final

END_OF_HEADERS: Final = b"\r\n\r\n"


class Lost(Exception):
    """The server closed a connection before it had answered."""


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answered: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # TCP gives nothing else
        self._transport = transport

    async def post(self, request: bytes) -> int:
        """Sends a whole request and returns the status of the answer. Raises Lost."""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(END_OF_HEADERS)
        if not found or len(body) < _content_length(head):
            return
        status, self._received = int(head[9:12]), b""
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(Lost())

    def close(self) -> None:
        self._transport.close()


class Pool:
    """A fixed number of connections; a request waits for one that is free, in the order of asking."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._all: list[Connection] = []
        self._free: deque[Connection] = deque()
        self._freed = asyncio.Semaphore(0)

    async def connect(self, count: int) -> None:
        for _ in range(count):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
            self._all.append(connection)
            self._free.append(connection)
            self._freed.release()

    async def post(self, path: str, body: bytes) -> int:
        """The answer's status, 0 where the connection broke."""
        await self._freed.acquire()
        connection = self._free.popleft()
        try:
            return await connection.post(self._head(path, len(body)) + body)
        except Lost:
            return 0
        finally:
            self._free.append(connection)
            self._freed.release()

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def _head(self, path: str, size_bytes: int) -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {size_bytes}\r\n\r\n"
        ).encode()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
