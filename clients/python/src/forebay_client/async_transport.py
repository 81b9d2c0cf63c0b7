"""One keep-alive connection to Forebay for asyncio, as `transport.Transport` is for threads. Standard library alone.

It speaks as much HTTP/1.1 (RFC 9112) as one POST with one answer needs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from forebay_client.endpoint import ANSWER_MAX_BYTES, Endpoint
from forebay_client.wire import Outcome, Request, no_answer, read_answer
from forebay_client.within import within

_BROKEN = (OSError, EOFError, asyncio.TimeoutError, ValueError)
_CLOSED_WHILE_IDLE = (ConnectionError, asyncio.IncompleteReadError)

Answer = tuple[int, dict[str, str], bytes]


class AsyncTransport(Endpoint):
    """Belongs to one event loop, and to one caller at a time."""

    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, events: Sequence[bytes], *, delivery: str = "") -> Outcome:
        """Posts the events once, as Transport.send; raises nothing that a network or a server can cause."""
        request = self.request(events, delivery)
        is_reused = self._streams is not None
        try:
            try:
                answer = await self._exchange(request)
            except _CLOSED_WHILE_IDLE:
                if not is_reused:
                    raise
                self.close()
                answer = await self._exchange(request)
        except _BROKEN as error:
            self.close()
            return no_answer(error)
        except BaseException:  # cancelled: of this request the answer is still to come
            self.close()
            raise
        return read_answer(*answer, len(events))

    def close(self) -> None:
        """The next `send` connects anew."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()

    async def _exchange(self, request: Request) -> Answer:
        if self._streams is None:
            reader, writer = await within(self._connect(), self.connect_timeout_s)
        else:
            reader, writer = self._streams
        return await within(self._ask(reader, writer, request), self.timeout_s)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = (self.ssl_context or ssl.create_default_context()) if self.is_tls else None
        # Kept at once: whoever is cancelled at this moment closes it.
        self._streams = await asyncio.open_connection(self.host, self.port, ssl=tls)
        return self._streams

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> Answer:
        headers = {"Host": self.authority, "Content-Length": str(len(request.body)), **request.headers}
        lines = [f"POST {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + request.body)
        try:
            await writer.drain()
        except ConnectionError:  # a server may refuse before it has read the body, and its answer is there to be read
            pass
        status, answered = await _head(reader)
        while status < 200:
            status, answered = await _head(reader)
        body = await _body(reader, answered)
        if answered.get("connection", "").lower() == "close" or not _is_delimited(answered):
            self.close()
        return status, answered, body


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers by lower-case name."""
    first = await reader.readline()
    if not first:
        raise ConnectionResetError("the server closed the connection")
    version, status, *_ = first.decode("latin-1").split(" ", 2)
    if not version.startswith("HTTP/1."):
        raise ValueError(f"no HTTP answer: {first[:40]!r}")
    headers = {}
    while (line := await reader.readline()) not in (b"\r\n", b"\n"):
        if not line:
            raise EOFError("the answer ends in its headers")
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(status), headers


def _is_delimited(headers: dict[str, str]) -> bool:
    return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunked(reader)
    size = int(headers.get("content-length", -1))
    if size > ANSWER_MAX_BYTES:
        raise ValueError(f"an answer of {size} bytes")
    return await (reader.read(ANSWER_MAX_BYTES) if size < 0 else reader.readexactly(size))


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        if len(body) + size > ANSWER_MAX_BYTES:
            raise ValueError("an answer without end")
        body += await reader.readexactly(size)
        await reader.readline()
    while await reader.readline() not in (b"\r\n", b"\n", b""):  # trailers
        pass
    return bytes(body)
