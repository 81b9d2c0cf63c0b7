"""An event and its JSON, put together by hand: it is most of what an event costs. Any thread.

An event gets its id here, once, before it is first sent, so that whatever is sent again later is known as a copy.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any

from forebay_client.correlation import correlation_id

# Text to a JSON string with its quotes. Everything outside of ASCII stays as it is; line breaks are escaped.
quote = encode_basestring
METADATA_MAX_ENTRIES = 64
_NAME_MAX_CHARACTERS = 255
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_INFINITY = float("inf")
_IMMUTABLE = frozenset({str, int, float, bool, type(None)})


def new_event_id(wall_s: float) -> str:
    """A UUIDv7 (RFC 9562, 5.7) of this process: after the time, 26 bits drawn once, and 48 that count up.

    So ids sort as they were made.
    """
    return f"{_moment(wall_s)[1]}{next(_counter):012x}"


def _moment(wall_s: float) -> tuple[int, str, str]:
    """A millisecond with the beginning of its ids and its timestamp, RFC 3339 in UTC with a Z.

    The last one is kept: an application that logs much logs much in one millisecond.
    """
    global _last
    wall_ms, last = int(wall_s * 1000), _last
    if last[0] == wall_ms:
        return last
    second, ms = divmod(wall_ms, 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    # One assignment: another thread sees all of the old moment or all of the new one.
    _last = last = wall_ms, f"{wall_ms >> 16:08x}-{wall_ms & 0xFFFF:04x}-{_drawn}-", f"{text}.{ms:03d}Z"
    return last


def _draw() -> None:
    """From the system: an application may seed the shared generator, and its ids would come again in its next run."""
    global _drawn, _counter, _last
    bits = secrets.randbits(26)
    _drawn = f"7{bits & 0xFFF:03x}-{0x8000 | bits >> 12:04x}"
    _counter = itertools.count(secrets.randbits(47))
    _last = (-1, "", "")


_drawn, _counter, _last = "", itertools.count(), (-1, "", "")
_draw()
# A child that went on counting where its parent is would make the parent's ids.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_draw)


@dataclass(frozen=True)
class Event:
    """One event, as Forebay's API describes it. What its fields may hold is checked by the server."""

    message: str
    level: str = "INFO"
    """TRACE, DEBUG, INFO, WARN, ERROR, FATAL or one of their aliases."""
    metadata: Mapping[str, Any] | None = None
    """Texts, numbers, booleans and None stay what they are; everything else becomes text. 64 entries at most."""
    stack_trace: str | None = None
    source: str | None = None
    """None: the client's."""
    wall_s: float = field(default_factory=time.time)
    correlation_id: str | None = field(default_factory=correlation_id.get)
    event_id: str = field(default_factory=lambda: new_event_id(time.time()))


class Encoder:
    """Events of one source and host to JSON."""

    def __init__(self, source: str, hostname: str) -> None:
        if not 1 <= len(source) <= _NAME_MAX_CHARACTERS:
            raise ValueError(f"source has {len(source)} characters; 1 to {_NAME_MAX_CHARACTERS} are allowed")
        self._hostname = quote(hostname[:_NAME_MAX_CHARACTERS])
        self._head = self._head_of(source)

    def event(self, event: Event) -> bytes:
        """The event as UTF-8 JSON without a line break."""
        return self.encode(
            event.message,
            event.level,
            event.wall_s,
            event.event_id,
            event.correlation_id,
            metadata_json(event.metadata.items()) if event.metadata else "",
            event.stack_trace,
            event.source,
        )

    def encode(
        self,
        message: str,
        level: str,
        wall_s: float,
        event_id: str | None,
        correlation: str | None,
        metadata: str,
        stack_trace: str | None,
        source: str | None = None,
    ) -> bytes:
        """`metadata` is the inside of its JSON object, made by `metadata_json`. Without an id the event gets one."""
        _, id_head, timestamp = _moment(wall_s)
        head = self._head if source is None else self._head_of(source)
        name = f'"{id_head}{next(_counter):012x}"' if event_id is None else quote(event_id)
        text = f'{head}{quote(level)},"message":{quote(message)},"eventId":{name},"timestamp":"{timestamp}"'
        if correlation:
            text += f',"correlationId":{quote(correlation[:_NAME_MAX_CHARACTERS])}'
        if metadata:
            text += f',"metadata":{{{metadata}}}'
        if stack_trace:
            text += f',"stackTrace":{quote(stack_trace)}'
        # A lone surrogate is no Unicode text, and the server would refuse the event for it.
        return (text + "}").encode("utf-8", "replace")

    def _head_of(self, source: str) -> str:
        return f'{{"source":{quote(source)},"hostname":{self._hostname},"level":'


def immutable(value: Any) -> Any:
    """What `metadata_json` makes of it, once nobody can change it any more. Raises what its str() raises."""
    return value if type(value) in _IMMUTABLE else _text(value)


def metadata_json(entries: Iterable[tuple[str, Any]], room: int = METADATA_MAX_ENTRIES) -> str:
    """The inside of a JSON object of at most `room` entries; over it, the last one counts those left out."""
    written = [
        f"{quote(str(name))}:{quote(value) if type(value) is str else _scalar(value)}" for name, value in entries
    ]
    if len(written) > room:
        written[room - 1 :] = [f'"entries_left_out":{len(written) - room + 1}']
    return ",".join(written)


def _scalar(value: Any) -> str:
    """JSON of a number, a boolean or None; text of anything else."""
    kind = type(value)
    if kind is int and _INT64_MIN <= value <= _INT64_MAX:
        return repr(value)
    if kind is float and -_INFINITY < value < _INFINITY:
        return repr(value)
    if kind is bool:
        return "true" if value else "false"
    return "null" if value is None else quote(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        try:
            return json.dumps(value, default=str, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):  # keys that are no text, or a circle: its repr copes with both
            return repr(value)
    return str(value)
