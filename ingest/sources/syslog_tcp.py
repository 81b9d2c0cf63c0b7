"""Syslog over TCP and TLS: messages in either framing, windows into the pipeline, not read while it cannot take more.

Sources; the loop's thread, one task a connection. There is no answer: what is refused for good is counted as lost.
"""

import asyncio
import logging
import ssl
from collections import deque
from typing import Final

from django.conf import settings

from ingest.dataplane.errors import Refused, StreamEnded, Unavailable
from ingest.protocols.syslog_framing import SyslogSplitter
from ingest.sources.connections import Connections
from ingest.sources.gathering import LARGE_DOCUMENTS, WINDOW_BYTES, Gathering, LargeDocuments, Pace
from ingest.sources.interruptible import Interruptible
from ingest.sources.syslog_losses import Losses
from ingest.sources.syslog_senders import Owned, Port, Received, Senders, certificate_names
from ingest.sources.taking import Taken, Taker
from ingest.sources.wire import Wire
from ingest.worker import Worker

log = logging.getLogger(__name__)

TLS_HANDSHAKE_S: Final = 10.0
REST_S: Final = 0.2
# At the end so much of a connection is still taken in, and what the kernel may have beside it is counted.
REST_BYTES: Final = 4 * WINDOW_BYTES
_COUNTED_BYTES: Final = 16 * REST_BYTES


class SyslogConnections:
    """What all of them share. `certificates` maps names in certificates to tenants."""

    def __init__(self, node: Worker, connections: Connections, losses: Losses, certificates: dict[str, str]) -> None:
        self.node = node
        self.losses = losses
        self.certificates = certificates
        self.large = LargeDocuments(LARGE_DOCUMENTS, LARGE_DOCUMENTS // 4)
        self.connections = connections
        self.pace = Pace(
            min(settings.FOREBAY_STREAM_WINDOW_EVENTS, settings.FOREBAY_REQUEST_MAX_EVENTS),
            settings.FOREBAY_STREAM_WINDOW_MS / 1000,
            settings.FOREBAY_LISTEN_LINE_TIMEOUT_S,
            None,
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: Port) -> None:
        """One connection, from its beginning to its end."""
        connection = SyslogConnection(self, reader, writer, port)
        try:
            with self.connections.holding(connection, connection.owner, "syslog", claimed=connection.is_claimed):
                await connection.run()
        except StreamEnded:
            pass  # it cannot be told
        except Unavailable as refused:
            self.losses.add(connection.transport, refused.code, 1)  # whatever it has sent
        finally:
            writer.close()


class SyslogConnection(Interruptible):
    """One sender."""

    def __init__(
        self, shared: SyslogConnections, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: Port
    ) -> None:
        super().__init__()
        certificate = writer.get_extra_info("peercert")
        self._shared = shared
        self._wire = Wire(reader, writer, settings.FOREBAY_LISTEN_WRITE_TIMEOUT_S)
        self.transport = "tcp" if writer.get_extra_info("ssl_object") is None else "tls"
        self._address = self._wire.peer_address
        names = certificate_names(certificate or {})
        named = next((shared.certificates[name] for name in names if name in shared.certificates), "")
        self._tenant = named or port.tenant
        self._splitter = SyslogSplitter(settings.FOREBAY_SYSLOG_MESSAGE_MAX_BYTES)
        self._gathering = Gathering(self, self._wire.receive, self._splitter, shared.pace, shared.large, self.owner)
        self._patience: asyncio.TimerHandle | None = None
        self._waiting: deque[Owned] = deque()  # of the present window
        self._senders = Senders(shared.node, shared.node.event_limits, self._lost, waits=True)
        self._taker = Taker(shared.node, self, self._tell_nobody, journal_ratio=settings.FOREBAY_LISTEN_JOURNAL_RATIO)

    @property
    def owner(self) -> str:
        """Whom the connection counts for: an address, while nobody knows the tenant."""
        return self._tenant or self._address

    @property
    def is_claimed(self) -> bool:
        """Whether the port or a certificate says whose it is."""
        return bool(self._tenant)

    async def run(self) -> None:
        """Until the sender closes it, or its end is asked for."""
        if not self.is_claimed:
            self._patience = asyncio.get_running_loop().call_later(
                settings.FOREBAY_STREAM_IDLE_TIMEOUT_S,
                self.end,
                StreamEnded("idle_timeout", "No message said whose it is"),
            )
        try:
            while messages := await self._gathering.window():
                self._waiting.extend(self._sorted(messages))
                if self._waiting:
                    self._claim()
                while self._waiting:
                    await self._take(self._waiting.popleft())
                await asyncio.sleep(0)
        except StreamEnded:
            await self._take_rest()
            raise
        finally:
            self._claim()
            self._gathering.close()
            self._lost("broken_off", bool(self._splitter.partial_bytes))
            # Nothing, unless there was no time for the rest.
            waiting = sum(len(owned.window.documents) for owned in self._waiting)
            self._lost("go_elsewhere", waiting + len(self._splitter.ready))

    def _claim(self) -> None:
        """A message is somebody's, or nobody waits for one any more."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._shared.connections.claim(self)

    def _sorted(self, messages: list[bytes]) -> list[Owned]:
        return self._senders.sort([Received(message, self._address) for message in messages], self._tenant)

    async def _take_rest(self) -> None:
        """At the end what has arrived is offered once: its sender takes it for delivered, and will not come back."""
        has_more = await self._read_rest(REST_BYTES)
        await self._offer_waiting()
        while messages := self._splitter.ready.take(self._shared.pace.window_events, WINDOW_BYTES):
            self._waiting.extend(self._sorted(messages))
            await self._offer_waiting()
            await asyncio.sleep(0)  # the others end meanwhile
        if has_more:
            await self._read_rest(_COUNTED_BYTES)

    async def _read_rest(self, most_bytes: int) -> bool:
        """What has arrived; whether that may be more than so much."""
        ready = self._splitter.ready
        try:
            async with asyncio.timeout(REST_S):
                while ready.size_bytes < most_bytes:
                    piece = await self._wire.receive()
                    if not piece:
                        return False
                    self._splitter.feed(piece)
        except (TimeoutError, StreamEnded):
            return False  # that was all
        return True

    async def _offer_waiting(self) -> None:
        while self._waiting:
            await self._senders.offer(self._waiting.popleft())
            await asyncio.sleep(0)

    async def _take(self, owned: Owned) -> None:
        taken = Taken()
        try:
            await self._taker.take(owned.window, owned.arrival, taken)
        except Refused as refused:
            self._lost(refused.code, len(owned.window.documents) - taken.events)
        except StreamEnded as ending:
            self._lost(ending.code, len(owned.window.documents) - taken.events)
            raise
        except Exception:
            log.exception("a window of syslog failed")
            self._lost("internal_error", len(owned.window.documents) - taken.events)

    async def _tell_nobody(self, refused: Refused) -> None:
        """The metric says it."""

    def _lost(self, reason: str, messages: int) -> None:
        self._shared.losses.add(self.transport, reason, messages)


def tls_context() -> ssl.SSLContext:
    """Of the settings: with a client CA every sender must show a certificate of it. Raises OSError, ssl.SSLError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.FOREBAY_SYSLOG_TLS_CERTIFICATE_FILE, settings.FOREBAY_SYSLOG_TLS_KEY_FILE or None)
    if settings.FOREBAY_SYSLOG_TLS_CLIENT_CA_FILE:
        context.load_verify_locations(settings.FOREBAY_SYSLOG_TLS_CLIENT_CA_FILE)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
