"""`GET /api/logs/tail`: a tenant's own events as they come, sampled and redacted, as server-sent events.

Sources; the loop's thread, one task a reader and one more for each tenant that is read. The sample is the one that all
workers leave in Redis each second, so the tail costs the event path nothing, and shows what they sample.
"""

import asyncio
import fnmatch
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec
import redis

from ingest.api.admission import admit, authenticate, authorise, count_stranger, key_text
from ingest.dataplane import metrics
from ingest.dataplane.errors import BadRequest, Forbidden, Refused, StreamEnded, Unauthenticated
from ingest.dataplane.event import LEVELS
from ingest.dataplane.recent import SAMPLE_EVENTS, recent_key
from ingest.dataplane.redaction import redact
from ingest.protocols.sse import ALIVE, sse_event, sse_retry
from ingest.sources.exchange import Environ, Exchange
from ingest.sources.interruptible import Interruptible
from ingest.tail_tickets import read_ticket
from ingest.worker import Worker

log = logging.getLogger(__name__)

LOOK_S: Final = 0.5
ALIVE_S: Final = 15.0
RETRY_MS: Final = 2_000
# Some seconds of a full sample; a reader that is further behind skips.
_WAITING_EVENTS: Final = 500
_ONLY_SOURCE: Final = 255
# Masks are looked for in all of a text, which takes its time.
SHOWN_MAX_BYTES: Final = 16 * 1024
CUT_CHARACTERS: Final = 4 * 1024
CONTENT_TYPE: Final = "text/event-stream"


class Shown(msgspec.Struct, rename="camel"):
    """What filters look at, and what is left of a large event."""

    source: str
    level: str
    message: str
    event_id: str


_shown = msgspec.json.Decoder(Shown)


class Filters:
    """Of one reader: `level` one or more of the six, or their aliases; `source` a text with `*` and `?` in it."""

    def __init__(self, said: Mapping[str, str]) -> None:
        """Raises BadRequest."""
        said = dict(said)
        self._levels = frozenset(map(_level, said.pop("level").split(","))) if "level" in said else None
        source = said.pop("source", "*")[:_ONLY_SOURCE]
        self._source = re.compile(fnmatch.translate(source))
        if said:
            raise BadRequest("invalid_query", f"The query may say level and source, not {next(iter(said))[:40]!r}")

    def take(self, event: Shown) -> bool:
        """Whether the reader wants it."""
        return (self._levels is None or event.level in self._levels) and bool(self._source.match(event.source))


def _level(text: str) -> str:
    level = LEVELS.get(text.strip().upper())
    if level is None:
        raise BadRequest("invalid_query", f"level {text[:40]!r} is none of {', '.join(dict.fromkeys(LEVELS.values()))}")
    return level


class Reader(NamedTuple):
    """Who reads a tail, by a key or by a ticket of the console. `check` raises Refused once they may not any more.

    `left_s` is until a ticket ends. `headers` let the console's page read the answer though it is of another origin.
    """

    tenant: str
    check: Callable[[], object]
    left_s: float | None = None
    headers: tuple[tuple[str, str], ...] = ()


def admit_reader(environ: Environ, said: Mapping[str, str], node: Worker, address: str) -> Reader:
    """Raises Unauthenticated, Forbidden or Throttled."""
    if "ticket" not in said:
        tenant = admit(environ, node, "read", address).tenant.name
        return Reader(tenant, lambda: authorise(authenticate(key_text(environ), node), "read", address))
    try:
        ticket = read_ticket(said["ticket"])
    except Unauthenticated:
        count_stranger(node, address)
        raise

    def check() -> None:
        if node.callers.of_tenant(ticket.tenant) is None:
            raise Forbidden("unknown_tenant", f"There is no tenant {ticket.tenant}")

    check()
    return Reader(ticket.tenant, check, ticket.ends_wall_s - time.time(), (("Access-Control-Allow-Origin", "*"),))


class Tails:
    """All readers of the process, by tenant: what a tenant has sent is fetched and redacted once for all of them."""

    def __init__(self, node: Worker) -> None:
        self.node = node
        self._readers: dict[str, set[Tail]] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}

    def join(self, tail: "Tail") -> None:
        """From now on."""
        readers = self._readers.setdefault(tail.tenant, set())
        readers.add(tail)
        if tail.tenant not in self._looking:
            self._looking[tail.tenant] = asyncio.create_task(self._look(tail.tenant))

    def leave(self, tail: "Tail") -> None:
        """The last one of a tenant turns off the light."""
        readers = self._readers[tail.tenant]
        readers.discard(tail)
        if not readers:
            del self._readers[tail.tenant]
            self._looking.pop(tail.tenant).cancel()

    async def _look(self, tenant: str) -> None:
        seen: frozenset[bytes] | None = None
        while True:
            try:
                sample = await asyncio.to_thread(self._sample, tenant)
                fresh = [value for value in reversed(sample) if seen is not None and value not in seen]
                for text, shown in await asyncio.to_thread(lambda values: list(map(_readable, values)), fresh):
                    self._tell_all(tenant, text, shown)
                seen = frozenset(sample)
            except redis.RedisError:
                self._tell_all(tenant, _AWAY, None)
            except Exception:  # one event that cannot be shown must not end the view of all others
                log.exception("the tail of %s has a gap", tenant)
                seen = None
            await asyncio.sleep(LOOK_S)

    def _sample(self, tenant: str) -> list[bytes]:
        """Newest first. Raises redis.RedisError."""
        return cast(list[bytes], self.node.redis.lrange(recent_key(tenant), 0, SAMPLE_EVENTS - 1))

    def _tell_all(self, tenant: str, text: bytes, shown: Shown | None) -> None:
        for reader in self._readers.get(tenant, ()):
            reader.tell(text, shown)


class Tail(Interruptible):
    """One reader."""

    def __init__(self, tails: Tails, exchange: Exchange, reader: Reader, filters: Filters) -> None:
        super().__init__()
        self.tenant = reader.tenant
        self._tails = tails
        self._exchange = exchange
        self._reader = reader
        self._filters = filters
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_EVENTS)
        self._skipped = 0

    async def run(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Until its end."""
        headers = (("Cache-Control", "no-store"), *self._reader.headers, *headers)
        await self._exchange.begin(200, CONTENT_TYPE, headers)
        await self._exchange.say(sse_retry(RETRY_MS))
        self._tails.join(self)
        hangs_up = asyncio.create_task(self._notice_hanging_up())
        ends = self._end_with_the_ticket()
        try:
            while True:
                await self._exchange.say(await self._next())
        except StreamEnded as ending:
            await self._say_last(ending)
        finally:
            hangs_up.cancel()
            if ends is not None:
                ends.cancel()
            self._tails.leave(self)

    def recheck(self) -> None:
        """A key that is revoked or expires ends its tails."""
        try:
            self._reader.check()
        except Refused as refused:
            if refused.code in StreamEnded.codes:
                self.end(StreamEnded(refused.code, refused.detail))

    def tell(self, text: bytes, shown: Shown | None) -> None:
        """Something for all readers; with `shown`, for those who want it. A slow one skips what it has no room for."""
        if shown is not None and not self._filters.take(shown):
            return
        if self._waiting.full():
            self._skipped += 1
            metrics.TAIL_SKIPPED_EVENTS.inc()
        else:
            self._waiting.put_nowait(text)

    async def _next(self) -> bytes:
        if self._skipped and self._waiting.empty():
            skipped, self._skipped = self._skipped, 0
            return sse_event(f'{{"events":{skipped}}}'.encode(), "skipped")
        try:
            return await self.within(ALIVE_S, self._waiting.get)
        except TimeoutError:
            return ALIVE

    def _end_with_the_ticket(self) -> asyncio.TimerHandle | None:
        if self._reader.left_s is None:
            return None
        over = StreamEnded("expired_ticket", "The ticket is over; ask the console for another")
        return asyncio.get_running_loop().call_later(self._reader.left_s, self.end, over)

    async def _notice_hanging_up(self) -> None:
        """A reader sends nothing more; the end of its side is its goodbye."""
        try:
            while await self._exchange.read():
                pass
            await self._exchange.wire.closed()
        except StreamEnded:
            pass  # it went without one
        self.end(StreamEnded("incomplete_body", "The reader hung up"))

    async def _say_last(self, ending: StreamEnded) -> None:
        try:
            text = _encode({"code": ending.code, "detail": ending.detail})
            await self._exchange.say(sse_event(text, "end"))
            await self._exchange.finish()
        except StreamEnded:
            pass  # it is the reader that is gone


_encode: Callable[[Mapping[str, Any]], bytes] = msgspec.json.Encoder().encode
_AWAY: Final = sse_event(_encode({"code": "sample_unavailable"}), "wait")


def _readable(value: bytes) -> tuple[bytes, Shown]:
    """An event as its readers see it. Of one that is large, or around whose masks the JSON broke, what matters most."""
    shown = _shown.decode(value)
    if len(value) <= SHOWN_MAX_BYTES:
        text = redact(value.decode()).encode()
        try:
            _shown.decode(text)
            return sse_event(text), shown
        except msgspec.DecodeError:
            pass
    message = f"{redact(shown.message[:CUT_CHARACTERS])}…"
    less = {"source": redact(shown.source), "level": shown.level, "message": message, "eventId": shown.event_id}
    return sse_event(_encode(less)), shown
