"""HTTP at the listen process: streams, the live tail and the probes, each request on a connection of its own.

Sources; the loop's thread, one task a connection.
"""

import asyncio
import logging
import time
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
)
from ingest.sources.connections import Connections
from ingest.sources.exchange import Environ, Exchange
from ingest.sources.live_tail import Filters, Tail, Tails, admit_reader
from ingest.sources.positions import Positions
from ingest.sources.streams import Stream, Streams
from ingest.sources.websocket import WebSocket, is_websocket
from ingest.sources.wire import Wire
from ingest.worker import Worker

log = logging.getLogger(__name__)

STREAM_PATH: Final = "/api/logs/stream"
TAIL_PATH: Final = "/api/logs/tail"
METHODS: Final = {STREAM_PATH: "POST", TAIL_PATH: "GET"}


class HttpConnections:
    """What all of them share."""

    def __init__(self, node: Worker, connections: Connections, positions: Positions) -> None:
        self._node = node
        self._connections = connections
        self._streams = Streams(node, positions)
        self._tails = Tails(node)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        wire = Wire(reader, writer, settings.FOREBAY_LISTEN_WRITE_TIMEOUT_S)
        exchange = Exchange(wire)
        try:
            try:
                with self._connections.arriving() as arrival:
                    environ = await arrival.within(settings.FOREBAY_LISTEN_HEAD_TIMEOUT_S, exchange.head)
            except TimeoutError:
                await exchange.answer(problem(RequestTimeout("request_timeout", "The request did not come in time")))
            except StreamEnded:
                wire.abort()  # nothing was said that a peer might still read
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
        said.pop("ticket", None)
        tail = Tail(self._tails, exchange, reader, Filters(said))
        with self._connections.holding(tail, reader.tenant, "tail"):
            _count(TAIL_PATH, 200, started_s)
            await tail.run((("X-Correlation-ID", correlation),))


def _count(path: str, status: int, started_s: float) -> None:
    """A request of ours, when its answer begins."""
    route = "logs_stream" if path == STREAM_PATH else "logs_tail"
    metrics.http_requests(route, status).inc()
    metrics.http_request_seconds(route).observe(time.perf_counter() - started_s)
