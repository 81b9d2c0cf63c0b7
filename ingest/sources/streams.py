"""`POST /api/logs/stream`: events for as long as a connection lives, acknowledged window by window on it.

Sources; the loop's thread, one task a stream. docs/streams.md tells a sender what it sees, and what a cut leaves.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from django.conf import settings

from ingest.api.admission import authenticate, authorise, key_text
from ingest.dataplane.callers import Caller
from ingest.dataplane.errors import BadRequest, Refused, StreamEnded, UnsupportedMedia
from ingest.dataplane.event import Decoded
from ingest.dataplane.pipeline import Arrival
from ingest.dataplane.routing import Delivery
from ingest.protocols import ndjson
from ingest.sources.exchange import Environ
from ingest.sources.gathering import LARGE_DOCUMENTS, Gathering, LargeDocuments, Pace
from ingest.sources.interruptible import Interruptible
from ingest.sources.positions import Position, Positions, StreamName
from ingest.sources.taking import Taken, Taker, Window
from ingest.sources.websocket import Peer
from ingest.worker import Worker

DIALECT: Final = "stream"
CONTENT_TYPE: Final = "application/x-ndjson"
TAKEN_OVER: Final = StreamEnded("taken_over", "The same stream was opened again")
_STREAM: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# As large as an eventId made of it has room for.
_SEQUENCE: Final = re.compile(r"[1-9][0-9]{0,13}")
# Longer acknowledgements, of windows full of bad lines, are not kept to be repeated.
_SAID_MAX_BYTES: Final = 4096
# A peer that does not read must not hold up the one that comes back as the same stream.
_LEAVES_WITHIN_S: Final = 1.0


class Asked(NamedTuple):
    """What the query of a stream says. `first` is the sequence of the first line."""

    stream: str
    first: int
    delivery: str


def asked(environ: Environ) -> Asked:
    """Raises BadRequest, UnsupportedMedia."""
    encoding = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if encoding != "identity":
        raise UnsupportedMedia("unsupported_encoding", f"A stream is not compressed, and this says {encoding[:40]!r}")
    said = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    stream, first, delivery = said.pop("stream", None), said.pop("sequence", None), said.pop("delivery", "")
    if said:
        raise BadRequest(
            "invalid_query", f"The query may say stream, sequence and delivery, not {next(iter(said))[:40]!r}"
        )
    if (stream is None) != (first is None):
        raise BadRequest(
            "invalid_query", "A stream that has a name says with which sequence it begins, and the reverse"
        )
    if stream is not None and not _STREAM.fullmatch(stream):
        raise BadRequest("invalid_query", "stream is 1 to 128 letters, digits and . _ : -")
    if first is not None and not _SEQUENCE.fullmatch(first):
        raise BadRequest("invalid_query", "sequence is a number from 1 on")
    if delivery and delivery not in set(Delivery):
        raise BadRequest("unknown_delivery", "delivery is async, ack or fire_and_forget")
    return Asked(stream or secrets.token_hex(16), int(first or 1), delivery)


class Streams:
    """What all streams of the process share. `open` has those that are."""

    def __init__(self, node: Worker, positions: Positions) -> None:
        self.node = node
        self.positions = positions
        self.open: dict[StreamName, Stream] = {}
        self.pace = Pace(
            min(settings.FOREBAY_STREAM_WINDOW_EVENTS, settings.FOREBAY_REQUEST_MAX_EVENTS),
            settings.FOREBAY_STREAM_WINDOW_MS / 1000,
            settings.FOREBAY_LISTEN_LINE_TIMEOUT_S,
            settings.FOREBAY_STREAM_IDLE_TIMEOUT_S,
        )
        self.large = LargeDocuments(LARGE_DOCUMENTS, LARGE_DOCUMENTS // 4)
        self.line_max_bytes: int = settings.FOREBAY_EVENT_MAX_BYTES
        self.journal_ratio: float = settings.FOREBAY_LISTEN_JOURNAL_RATIO


class Stream(Interruptible):
    """One, from its admission to its last line."""

    def __init__(
        self, shared: Streams, peer: Peer, environ: Environ, tenant: str, address: str, correlation_id: str
    ) -> None:
        super().__init__()
        self._asked = asked(environ)
        self._shared = shared
        self._peer = peer
        self._key = key_text(environ)
        self._address = address
        self._correlation_id = correlation_id
        self._name = StreamName(tenant, self._asked.stream)
        self._owner = secrets.token_hex(8)
        self._next = self._asked.first
        self._reached = 0
        self._event_id = ndjson.event_ids(*self._name)
        self._left = asyncio.Event()
        splitter = ndjson.LineSplitter(shared.line_max_bytes)
        self._gathering = Gathering(self, peer.read, splitter, shared.pace, shared.large, tenant)
        self._taker = Taker(shared.node, self, self._tell_wait, journal_ratio=shared.journal_ratio)

    async def run(self) -> str:
        """Until its end; returns why that came, for the metrics."""
        before = self._shared.open.get(self._name)
        self._shared.open[self._name] = self
        try:
            if before is not None:
                await before._leave()
            await self._begin()
            await self._serve()
        except (StreamEnded, Refused) as ending:
            await self._say_last(code=ending.code, detail=str(ending))
            return ending.code
        finally:
            self._gathering.close()
            self._left.set()
            if self._shared.open.get(self._name) is self:
                del self._shared.open[self._name]
        await self._say_last()
        return "complete"

    def recheck(self) -> None:
        """A key that is revoked or expires ends its streams, busy or not."""
        try:
            self._caller()
        except Refused as refused:
            if refused.code in StreamEnded.codes:
                self.end(StreamEnded(refused.code, refused.detail))

    async def _leave(self) -> None:
        """Another connection has this stream. Returns when this one will accept nothing more."""
        self.end(TAKEN_OVER)
        try:
            async with asyncio.timeout(_LEAVES_WITHIN_S):
                await self._left.wait()
        except TimeoutError:
            self._peer.wire.abort()
            await self._left.wait()

    async def _begin(self) -> None:
        position = await self._shared.positions.open(self._name, self._owner)
        self._reached = max(position.reached, self._asked.first - 1)
        await self._peer.begin(200, CONTENT_TYPE, (("X-Correlation-ID", self._correlation_id),))
        await self._peer.say(
            ndjson.line("open", stream=self._name.stream, sequence=position.reached, first=self._asked.first)
        )
        if position.said and position.reached >= self._asked.first:
            await self._peer.say(position.said)  # the sender may not have heard it

    async def _serve(self) -> None:
        while lines := await self._gathering.window():
            known = min(len(lines), max(0, self._reached + 1 - self._next))
            taken = Taken()
            try:
                if known < len(lines):
                    window = Window(lines[known:], self._next + known, self._decode)
                    await self._taker.take(window, self._arrival, taken)
            finally:
                self._next += known + taken.events
                if known or taken.events:
                    await self._acknowledge(known, taken)
            # Whoever has more to say lets the others speak first.
            await asyncio.sleep(0)

    async def _acknowledge(self, known: int, taken: Taken) -> None:
        self._reached = max(self._reached, self._next - 1)
        fields: dict[str, Any] = {"sequence": self._next - 1, "accepted": taken.accepted}
        if known:
            fields["known"] = known
        if taken.pending:
            fields["pending"] = taken.pending
        if taken.rejected:
            fields["rejected"] = [ndjson.rejected_line(at, *error) for at, error in taken.rejected.items()]
        said = ndjson.line("ack", **fields)
        if taken.events:
            position = Position(self._reached, said if len(said) <= _SAID_MAX_BYTES else b"")
            if not await self._shared.positions.reach(self._name, self._owner, position):
                self.end(TAKEN_OVER)
        await self._peer.say(said)

    async def _tell_wait(self, refused: Refused) -> None:
        fields = {"code": refused.code, "detail": refused.detail, "retry_after_s": refused.retry_after_s}
        await self._peer.say(ndjson.line("wait", sequence=self._reached, **fields, **refused.extra))

    async def _say_last(self, **why: str) -> None:
        try:
            await self._peer.say(ndjson.line("end", sequence=self._reached, **why))
            await self._peer.finish()
        except StreamEnded:
            pass  # it is the peer that is gone

    def _decode(self, lines: Sequence[bytes], first: int) -> Decoded:
        return ndjson.decode_lines(lines, first, self._event_id, self._shared.line_max_bytes)

    def _caller(self) -> Caller:
        caller = authenticate(self._key, self._shared.node)
        authorise(caller, "ingest", self._address)
        return caller

    def _arrival(self) -> Arrival:
        node, caller = self._shared.node, self._caller()
        node.key_uses[caller.key.key_id] = time.time()
        return Arrival(
            caller,
            node.allowance(caller),
            node.topics,
            DIALECT,
            self._address,
            self._correlation_id,
            self._asked.delivery,
            waits=True,
        )
