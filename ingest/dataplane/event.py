"""What a tenant sends: the Struct, its decoders and its one encoder, made once, and what is filled in on arrival.

Data plane; called under the lane lock, stateless. The fast path decodes a whole batch in one call; only a batch that
fails is decoded again event by event, so that each bad one gets its own index and reason and the good ones go on.
"""

import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from itertools import chain, count, islice
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from ingest.dataplane.errors import BadRequest, EventRejected

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Scalar = str | int | float | bool | None


class LogEvent(msgspec.Struct, omit_defaults=True, rename="camel", forbid_unknown_fields=True, gc=False):
    """One event; JSON in camelCase. An unknown field is refused rather than lost without a word.

    `tenant`, `receivedAt` and `receivedBy` are ours: whatever the body says there is overwritten.
    """

    source: Name
    level: str | int
    message: str
    event_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    timestamp: str | int | None = None
    hostname: Name | None = None
    correlation_id: Name | None = None
    metadata: dict[str, Scalar] | None = None
    stack_trace: str | None = None
    tenant: Any = None
    received_at: Any = None
    received_by: Any = None


encode: Callable[[LogEvent], bytes] = msgspec.json.Encoder().encode
_event = msgspec.json.Decoder(LogEvent)
_events = msgspec.json.Decoder(list[LogEvent])
_raw_events = msgspec.json.Decoder(list[msgspec.Raw])
_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# An array has at most one element more than commas, and each takes 64 bytes of memory to be told apart.
_MOST_COMMAS = 500_000
_DETAIL_CHARACTERS = 200

# Canonical levels by every spelling that is looked up first; syslog severities by name and by number (RFC 5424, 6.2.1).
_SPELLINGS: dict[str, tuple[str | int, ...]] = {
    "TRACE": ("TRACE", "VERBOSE", "FINEST"),
    "DEBUG": ("DEBUG", "FINE", 7),
    "INFO": ("INFO", "INFORMATION", "INFORMATIONAL", "NOTICE", 6, 5),
    "WARN": ("WARN", "WARNING", 4),
    "ERROR": ("ERROR", "ERR", "SEVERE", 3),
    "FATAL": ("FATAL", "CRITICAL", "CRIT", "ALERT", "EMERG", "EMERGENCY", "PANIC", 2, 1, 0),
}
LEVELS: dict[str | int, str] = {
    form: level
    for level, spellings in _SPELLINGS.items()
    for spelling in spellings
    for form in (spelling, str(spelling), str(spelling).lower())
}
# The last three digits of a generated id.
_COUNTER = [f"{number:03x}" for number in range(4096)]
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class EventLimits:
    """What one event may be; each a setting."""

    event_max_bytes: int
    surely_fits_bytes: int
    """Up to here an event fits every topic there is; beyond it its own topic is asked."""
    request_max_events: int
    metadata_max_entries: int
    timestamp_max_age_s: int
    timestamp_max_ahead_s: int


class Decoded(NamedTuple):
    """A decoded body: the good events in order with their indexes in the request, the bad ones by theirs."""

    events: list[LogEvent]
    indexes: Sequence[int]
    rejected: dict[int, EventRejected]


class Stamp(msgspec.Struct, gc=False):
    """What every event of one request gets."""

    tenant: str
    peer_address: str
    correlation_id: str
    received_by: str
    received_wall_ms: int
    received_at: str
    new_id: Callable[[], str]


def decode_one(body: bytes, max_events: int) -> Decoded:
    """One JSON object; raises BadRequest with the event's own code. (RFC 8259; the last of duplicate keys counts.)"""
    try:
        return Decoded([_event.decode(body)], (0,), {})
    except _NOT_DECODED as error:
        rejected = _reason(error)
        raise BadRequest(rejected.code, rejected.detail) from None


def decode_many(body: bytes, max_events: int) -> Decoded:
    """A JSON array or NDJSON. An index counts every event sent, good or bad; blank lines do not count.

    Raises BadRequest where not even the events can be told apart. Of a request with bad events in it no more than one
    beyond `max_events` are looked at: that is enough to refuse it.
    """
    is_array = body.lstrip()[:1] == b"["
    try:
        events = _events.decode(body) if is_array else _event.decode_lines(body)
    except _NOT_DECODED as error:
        documents = _array_documents(body, error) if is_array else _lines(body)
        return decode_each(islice(documents, max_events + 1))
    if not events:
        raise BadRequest("empty_batch", "The array is empty; send an event")
    return Decoded(events, range(len(events)), {})


def _lines(body: bytes) -> Iterator[bytes]:
    return (line for line in BytesIO(body) if not line.isspace())


def _array_documents(body: bytes, error: Exception) -> list[msgspec.Raw]:
    if body.count(b",") > _MOST_COMMAS:
        detail = f"{_reason(error).detail}. An array this large is taken whole or not at all; NDJSON is taken by line"
        raise BadRequest("malformed_json", detail)
    try:
        return _raw_events.decode(body)
    except _NOT_DECODED as malformed:
        raise BadRequest("malformed_json", _reason(malformed).detail) from None


def decode_each(documents: Iterable[bytes | msgspec.Raw]) -> Decoded:
    """One JSON object in each document; the bad ones are told by their place."""
    events: list[LogEvent] = []
    indexes: list[int] = []
    rejected: dict[int, EventRejected] = {}
    for index, document in enumerate(documents):
        try:
            events.append(_event.decode(document))
            indexes.append(index)
        except _NOT_DECODED as error:
            rejected[index] = _reason(error)
    return Decoded(events, indexes, rejected)


def _reason(error: Exception) -> EventRejected:
    """msgspec's own sentence is clear; the code in front of it is what stays stable. A field's name may be long."""
    text = str(error)[:_DETAIL_CHARACTERS]
    if isinstance(error, RecursionError):
        return EventRejected("malformed_json", "The JSON is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return EventRejected("malformed_json", text)
    if text.startswith("Object missing required field"):
        return EventRejected("missing_field", text)
    if text.startswith("Object contains unknown field"):
        return EventRejected("unknown_field", f"{text}; put what is your own into `metadata`")
    if text.startswith("Expected `object`") and "`$." not in text:
        return EventRejected("not_an_object", text)
    return EventRejected("invalid_field", text)


def complete(event: LogEvent, stamp: Stamp, limits: EventLimits) -> None:
    """Check what the decoder could not, and fill in what is missing. Raises EventRejected."""
    event.level = LEVELS.get(event.level) or _level_of(event.level)
    if event.event_id is None:
        event.event_id = stamp.new_id()
    if event.timestamp is None:
        event.timestamp = stamp.received_at
    else:
        event.timestamp = _checked_timestamp(event.timestamp, stamp.received_wall_ms, limits)
    if event.hostname is None:
        event.hostname = stamp.peer_address
    if event.correlation_id is None:
        event.correlation_id = stamp.correlation_id
    if event.metadata is not None and len(event.metadata) > limits.metadata_max_entries:
        raise EventRejected(
            "too_many_metadata_entries", f"metadata has more than {limits.metadata_max_entries} entries"
        )
    event.tenant = stamp.tenant
    event.received_at = stamp.received_at
    event.received_by = stamp.received_by


def check_size(record_bytes: int, limits: EventLimits, topic_max_bytes: int) -> None:
    """Refuse what Kafka would: a record over our limit, or over its topic's own. Raises EventRejected."""
    most_bytes = min(limits.event_max_bytes, topic_max_bytes)
    if record_bytes > most_bytes:
        raise EventRejected("event_too_large", f"{record_bytes} bytes with its key; at most {most_bytes} go")


def _level_of(given: str | int) -> str:
    level = LEVELS.get(given.strip().upper()) if isinstance(given, str) else None
    if level is None:
        known = ", ".join(_SPELLINGS)
        raise EventRejected("unknown_level", f"level {str(given)[:40]!r} is none of {known} or their aliases")
    return level


def _checked_timestamp(given: str | int, received_wall_ms: int, limits: EventLimits) -> str:
    """RFC 3339 text is kept as it was sent, nanoseconds too; epoch milliseconds become RFC 3339."""
    try:
        if isinstance(given, int):
            wall_ms, text = given, rfc3339(given)
        elif _RFC3339.fullmatch(given):
            wall_ms, text = int(datetime.fromisoformat(given.upper()).timestamp() * 1000), given
        else:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        detail = f"timestamp {str(given)[:40]!r} is neither RFC 3339 nor epoch milliseconds"
        raise EventRejected("invalid_timestamp", detail) from None
    if not -limits.timestamp_max_age_s * 1000 <= wall_ms - received_wall_ms <= limits.timestamp_max_ahead_s * 1000:
        detail = (
            f"timestamp {text} is more than {limits.timestamp_max_age_s} s before"
            f" or {limits.timestamp_max_ahead_s} s after {rfc3339(received_wall_ms)}"
        )
        raise EventRejected("timestamp_out_of_range", detail)
    return text


@lru_cache(maxsize=16)
def rfc3339(wall_ms: int) -> str:
    """UTC with milliseconds and a Z."""
    return f"{_second(wall_ms // 1000)}.{wall_ms % 1000:03d}Z"


@lru_cache(maxsize=16)
def _second(wall_s: int) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def event_ids(wall_ms: int) -> Callable[[], str]:
    """New UUIDv7 (RFC 9562, 5.7) of one moment: what follows the time counts up through all requests of the process, so
    ids sort as sent. Not thread-safe: under the lane lock.

    Made of C iterators: a call takes a fifth of what formatting the number does, and a batch has five hundred of them.
    """
    return map(_uuid_time(wall_ms).__add__, _tails).__next__


@lru_cache(maxsize=4)
def _uuid_time(wall_ms: int) -> str:
    return f"{wall_ms >> 16:08x}-{wall_ms & 0xFFFF:04x}-7"


def _drawn_tails() -> Iterator[str]:
    """What follows the time: 26 random bits, then 48 that begin at random, with one free above them, and count up."""
    # Unique is enough here, nothing is kept secret by it; the generator is seeded from the system in each process.
    drawn = random.getrandbits(26)
    head = f"{drawn & 0xFFF:03x}-{'89ab'[drawn >> 24]}{drawn >> 12 & 0xFFF:03x}-"
    blocks = (f"{head}{block:09x}" for block in count(random.getrandbits(35)))
    return chain.from_iterable(map(block.__add__, _COUNTER) for block in blocks)


_tails = _drawn_tails()


def _draw_again() -> None:
    """A child that went on counting where its parent is would make the parent's ids."""
    global _tails
    _tails = _drawn_tails()


os.register_at_fork(after_in_child=_draw_again)
