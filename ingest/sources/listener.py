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
from typing import Final
from urllib.parse import parse_qsl

import h11
from django.conf import settings

from ingest.api.addresses import client_address
from ingest.api.admission import admit
from ingest.api.answers import Answer
from ingest.api.lane import PROBES
from ingest.api.problems import problem
from ingest.api.tracing import correlation_id
from ingest.dataplane import metrics
from ingest.dataplane.errors import (
    InternalError,
    MethodNotAllowed,
    NotFound,
    Refused,
    RequestTimeout,
    StreamEnded,
    Throttled,
    Unavailable,
)
from ingest.sources.connections import Connections
from ingest.sources.exchange import Environ, Exchange
from ingest.sources.live_tail import Filters, Tail, Tails, admit_reader
from ingest.sources.positions import Positions
from ingest.sources.streams import Stream, Streams
from ingest.sources.syslog_losses import Losses
from ingest.sources.syslog_senders import Port, certificate_tenants, ports
from ingest.sources.syslog_tcp import TLS_HANDSHAKE_S, SyslogConnections, tls_context
from ingest.sources.syslog_udp import UdpPort
from ingest.sources.websocket import WebSocket, is_websocket
from ingest.sources.wire import READ_BYTES, Wire
from ingest.worker import Worker

log = logging.getLogger(__name__)

STREAM_PATH: Final = "/api/logs/stream"
TAIL_PATH: Final = "/api/logs/tail"
METHODS: Final = {STREAM_PATH: "POST", TAIL_PATH: "GET"}
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
        self._streams = Streams(node, self._positions)
        self._tails = Tails(node)
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
        await self._serve(self._serve_http, settings.FOREBAY_LISTEN_PORT)
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
                try:
                    await writer.start_tls(tls, ssl_handshake_timeout=TLS_HANDSHAKE_S)
                except OSError:  # ssl.SSLError is one
                    return
            await self._syslog.serve(reader, writer, port)

        return serve

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer, settings.FOREBAY_LISTEN_WRITE_TIMEOUT_S)
        exchange = Exchange(wire)
        try:
            try:
                async with asyncio.timeout(settings.FOREBAY_LISTEN_HEAD_TIMEOUT_S):
                    environ = await exchange.head()
            except TimeoutError:
                await exchange.answer(problem(RequestTimeout("request_timeout", "The request did not come in time")))
            else:
                await self._respond(exchange, environ)
        except (StreamEnded, h11.RemoteProtocolError):
            pass  # the peer is gone, or speaks something else
        finally:
            await wire.close()

    async def _respond(self, exchange: Exchange, environ: Environ) -> None:
        started_s = time.perf_counter()
        path, correlation = environ["PATH_INFO"].rstrip("/"), correlation_id(environ)
        try:
            if path in PROBES:
                answer = await asyncio.to_thread(PROBES[path], environ)
            else:
                await self._hold(exchange, environ, path, correlation)
                return
        except Refused as refused:
            if isinstance(refused, Throttled):
                self._node.throttles.add(refused)
            answer = problem(refused)
        except StreamEnded:
            raise
        except Exception:
            log.exception("request %s failed", correlation)
            answer = problem(InternalError("internal_error", f"A defect of ours; it is logged as {correlation}"))
        headers = (("X-Correlation-ID", correlation), *answer.headers)
        await exchange.answer(Answer(answer.status, answer.body, answer.content_type, headers))
        if path in METHODS:
            _count(path, answer.status, started_s)

    async def _hold(self, exchange: Exchange, environ: Environ, path: str, correlation: str) -> None:
        """A stream or a tail, as long as it lives. Raises Refused before it begins."""
        method = METHODS.get(path)
        if method is None:
            raise NotFound("unknown_path", f"This port serves {' and '.join(METHODS)}; all else is on the other one")
        as_websocket = path == STREAM_PATH and is_websocket(environ)
        if environ["REQUEST_METHOD"] != ("GET" if as_websocket else method):
            raise MethodNotAllowed("method_not_allowed", f"This address takes {method}", allowed=(method,))
        address = client_address(environ, self._node.trusted_proxies)
        if path == STREAM_PATH:
            await self._hold_stream(exchange, environ, address, correlation, as_websocket=as_websocket)
        else:
            await self._hold_tail(exchange, environ, address, correlation)

    async def _hold_stream(
        self, exchange: Exchange, environ: Environ, address: str, correlation: str, *, as_websocket: bool
    ) -> None:
        started_s = time.perf_counter()
        # The limit of an address may ask Redis.
        caller = await asyncio.to_thread(admit, environ, self._node, "ingest", address)
        self._raise_if_stopping()
        tenant = caller.tenant.name
        peer = WebSocket(exchange) if as_websocket else exchange
        stream = Stream(self._streams, peer, environ, tenant, address, correlation)
        with self._connections.holding(stream, tenant, "stream"):
            _count(STREAM_PATH, 101 if as_websocket else 200, started_s)
            metrics.STREAM_ENDS.labels(await stream.run()).inc()

    async def _hold_tail(self, exchange: Exchange, environ: Environ, address: str, correlation: str) -> None:
        started_s = time.perf_counter()
        said = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        reader = await asyncio.to_thread(admit_reader, environ, said, self._node, address)
        self._raise_if_stopping()
        said.pop("ticket", None)
        tail = Tail(self._tails, exchange, reader, Filters(said))
        with self._connections.holding(tail, reader.tenant, "tail"):
            _count(TAIL_PATH, 200, started_s)
            await tail.run((("X-Correlation-ID", correlation),))

    def _raise_if_stopping(self) -> None:
        """Nobody would tell a connection that begins now to end any more."""
        if self._stopping.is_set():
            raise Unavailable("shutting_down", "This process is going away; another will answer")

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


def _count(path: str, status: int, started_s: float) -> None:
    """A request of ours, when its answer begins."""
    route = "logs_stream" if path == STREAM_PATH else "logs_tail"
    metrics.http_requests(route, status).inc()
    metrics.http_request_seconds(route).observe(time.perf_counter() - started_s)


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
