"""The listen process: one port for streams and the live tail, others for syslog, on one asyncio loop over one worker.

Composition root of the sources. The loop's thread is the main one. docs/streams.md and docs/syslog.md tell the rest.
"""

import asyncio
import logging
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from django.conf import settings

from ingest.dataplane.errors import StreamEnded
from ingest.sources.connections import Connections
from ingest.sources.http_connections import HttpConnections
from ingest.sources.positions import Positions
from ingest.sources.syslog_losses import Losses
from ingest.sources.syslog_senders import Port, certificate_tenants, ports
from ingest.sources.syslog_tcp import TLS_HANDSHAKE_S, SyslogConnections, tls_context
from ingest.sources.syslog_udp import UdpPort
from ingest.sources.wire import READ_BYTES
from ingest.worker import Worker

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25
RECHECK_S: Final = 1.0
_FILES_BESIDE: Final = 256
_BACKLOG: Final = 1024
_KEEPALIVE_IDLE_S: Final = 60
_KEEPALIVE_INTERVAL_S: Final = 15
_KEEPALIVE_PROBES: Final = 4


class Listener:
    """One a process. `run` serves until it is told to stop, and returns when the last connection is gone."""

    def __init__(self, node: Worker) -> None:
        self._node = node
        self._connections = Connections(settings.FOREBAY_LISTEN_CONNECTIONS)
        self._positions = Positions(node.redis, kept_s=settings.FOREBAY_STREAM_POSITION_KEPT_S)
        self._http = HttpConnections(node, self._connections, self._positions)
        self._losses = Losses()
        self._syslog = SyslogConnections(
            node, self._connections, self._losses, certificate_tenants(settings.FOREBAY_SYSLOG_CERTIFICATES)
        )
        self._udp: list[UdpPort] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # With those whose head has not come; beyond, the process would run out of files.
        self._most_open = 2 * settings.FOREBAY_LISTEN_CONNECTIONS
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Raises OSError or ssl.SSLError where it cannot listen, ImproperlyConfigured for a setting that is none."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.FOREBAY_THREADS, "listen"))
        _raise_open_files()
        await self._open()
        log.info("listening on %s:%d", settings.FOREBAY_HOST, settings.FOREBAY_LISTEN_PORT)
        looking = asyncio.create_task(self._look())
        await self._stopping.wait()
        await self._drain()
        looking.cancel()
        self._positions.close()

    def stop(self) -> None:
        """Drain; `run` returns then."""
        self._stopping.set()

    async def _open(self) -> None:
        await self._serve(self._http.serve, settings.FOREBAY_LISTEN_PORT)
        for port in ports(settings.FOREBAY_SYSLOG_TCP):
            await self._serve(self._syslog_on(port), port.number, "tcp")
        tls_ports = ports(settings.FOREBAY_SYSLOG_TLS)
        tls = tls_context() if tls_ports else None
        for port in tls_ports:
            await self._serve(self._syslog_on(port, tls), port.number, "tls")
        for port in ports(settings.FOREBAY_SYSLOG_UDP):
            udp = UdpPort(self._node, self._losses, settings.FOREBAY_HOST, port)
            udp.start()
            self._udp.append(udp)

    async def _serve(
        self,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        port: int,
        syslog_transport: str = "",
    ) -> None:
        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._tasks) >= self._most_open:
                writer.transport.abort()
                if syslog_transport:
                    self._losses.add(syslog_transport, "too_many_connections", 1)
                return
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a callback of asyncio's server is one
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            try:
                await serve(reader, writer)
            except Exception:
                log.exception("a connection failed")
            finally:
                writer.close()

        server = await asyncio.start_server(
            serve_one, settings.FOREBAY_HOST, port, limit=READ_BYTES // 2, backlog=_BACKLOG
        )
        for one in server.sockets:
            _keep_alive(one)
        self._servers.append(server)

    def _syslog_on(
        self, port: Port, tls: ssl.SSLContext | None = None
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if tls is not None:
                # Here and not by the server, which would not count whoever only shakes hands.
                shake_hands = partial(writer.start_tls, tls, ssl_handshake_timeout=TLS_HANDSHAKE_S)
                try:
                    with self._connections.arriving() as arrival:
                        await arrival.within(None, shake_hands)
                except (OSError, StreamEnded):  # ssl.SSLError is an OSError
                    return
            await self._syslog.serve(reader, writer, port)

        return serve

    async def _look(self) -> None:
        """Now and then: what a connection lives on may be revoked by a new snapshot, or expire; the kernel may drop."""
        snapshot, checked_s = self._node.snapshot, time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            if self._node.snapshot is not snapshot or time.monotonic() - checked_s >= RECHECK_S:
                snapshot, checked_s = self._node.snapshot, time.monotonic()
                for session in self._connections:
                    session.recheck()
            try:
                for udp in self._udp:
                    udp.count_kernel_drops()
                self._losses.say()
            except Exception:  # what cannot be counted must not keep a revoked key alive
                log.exception("losses of syslog cannot be counted")

    async def _drain(self) -> None:
        """Nothing new; what is under way is finished, acknowledged, and told to go elsewhere."""
        log.info("draining %d connections", len(self._connections))
        for server in self._servers:
            server.close()
        self._connections.end_all(StreamEnded("go_elsewhere", "This process is going away; another will answer"))
        udp_ports, self._udp = self._udp, []
        ending = self._tasks | {asyncio.create_task(udp.stop()) for udp in udp_ports}
        if ending:
            _, late = await asyncio.wait(ending, timeout=settings.FOREBAY_LISTEN_DRAIN_TIMEOUT_S)
            for task in late:
                task.cancel()
            for failed in await asyncio.gather(*ending, return_exceptions=True):
                if isinstance(failed, Exception):
                    log.error("draining failed", exc_info=failed)
        self._losses.say()


def _keep_alive(listening: socket.socket) -> None:
    """Each connection has it from the socket that listens: a peer that is gone without a word keeps no place."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)


def _raise_open_files() -> None:
    """Each connection is one; as many as the system lets this process have."""
    wanted = settings.FOREBAY_LISTEN_CONNECTIONS * 2 + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        may = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (may, hard))
        if may < wanted:
            log.warning("only %d files may be open; FOREBAY_LISTEN_CONNECTIONS needs %d", may, wanted)
