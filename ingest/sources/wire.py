"""The two ends of one connection, whatever is spoken on it: reads that tell a break, writes that do not wait for ever.

Sources; the loop's thread, one task a connection.
"""

import asyncio
from typing import Final

from ingest.dataplane.errors import StreamEnded

READ_BYTES: Final = 64 * 1024
# Chunks or frames that are parsed at once. A peer may make them of a byte each, and parsing 64 KiB of those would keep
# all others waiting for some 200 ms.
PIECES_A_TURN: Final = 256
# What a peer still sends is taken for so long before the connection closes: a reset would eat the answer on its way.
LINGER_S: Final = 2.0


class Wire:
    """`write_timeout_s` is for a peer that does not read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, write_timeout_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._write_timeout_s = write_timeout_s

    @property
    def peer_address(self) -> str:
        """Empty for a peer that is gone already."""
        peer = self._writer.get_extra_info("peername")
        return peer[0] if peer else ""

    async def receive(self) -> bytes:
        """What has arrived, b"" at the end. Raises StreamEnded where the connection breaks."""
        try:
            return await self._reader.read(READ_BYTES)
        except OSError as error:  # ssl.SSLError is one
            raise StreamEnded("incomplete_body", f"The connection broke: {error}") from None

    async def write(self, text: bytes) -> None:
        """Raises StreamEnded when the peer does not read, or is gone."""
        self._writer.write(text)
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._writer.drain()
        except TimeoutError:
            self.abort()
            raise StreamEnded("not_reading", "The answer was not read") from None
        except OSError as error:
            raise StreamEnded("incomplete_body", f"The connection broke: {error}") from None

    async def closed(self) -> None:
        """Until the peer closes its side; what it sends before is not asked for."""
        try:
            while await self._reader.read(READ_BYTES):
                pass
        except OSError:
            pass  # closed all the same

    async def close(self) -> None:
        """Once all is said; never raises for a peer that is gone."""
        try:
            async with asyncio.timeout(LINGER_S):
                self._writer.write_eof()
                await self.closed()
        except (OSError, TimeoutError):
            pass  # there is nothing left to say
        self._writer.close()

    def abort(self) -> None:
        """Drop the connection now, with what was not read yet."""
        self._writer.transport.abort()
