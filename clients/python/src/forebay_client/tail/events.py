"""Lines to encoded events, the bytes that go to Forebay. Pure but for the clock of the timestamps.

An event's id is a UUID of version 8 (RFC 9562, 5.8): 74 bits say which file, the last 48 at which offset its line
begins. So a line that is sent again, by whatever process, has the id that it had, and Forebay or a consumer knows it.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from forebay_client.tail.formats import Parse, as_text, sort_out, to_json
from forebay_client.tail.levels import find_level, known_level
from forebay_client.tail.lines import Line, Lines
from forebay_client.tail.timestamps import Timestamps

NAME_MAX_CHARACTERS = 255
OFFSET_BITS = 48
_quote = encode_basestring  # the one in C: text to JSON, and what is not ASCII stays


def file_id(device: int, inode: int, fingerprint: bytes, generation: int) -> str:
    """What the ids of all events of a file begin with, 24 characters. `fingerprint` is its first line."""
    told = b"%d:%d:%d:%s" % (device, inode, generation, fingerprint)
    digits = blake2b(told, digest_size=10).hexdigest()
    variant = "89ab"[int(digits[15], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-{variant}{digits[16:19]}-"


def event_id(of_file: str, offset: int) -> str:
    """A UUID."""
    return f"{of_file}{offset:012x}"


class Origin(NamedTuple):
    """What all events of a file say of where they come from."""

    file_id: str
    source: str
    path: str
    host: str


class EventEncoder:
    """Makes events of the lines of one kind of file: its format, and the level of lines that tell none."""

    def __init__(self, parse: Parse | None, timestamps: Timestamps, *, default_level: str = "INFO") -> None:
        self._parse, self._timestamps, self._default_level = parse, timestamps, default_level

    def encode(self, lines: Lines, origin: Origin) -> list[bytes]:
        """One JSON object a line, UTF-8."""
        self._timestamps.start_batch()
        one = self._plain_encoder(origin) if self._parse is None else self._parsed_encoder(origin)
        return [one(line) for line in lines]

    def _plain_encoder(self, origin: Origin) -> Any:
        """The fast way: what every event of the file shares is put together once."""
        host, path = _quote(origin.host[:NAME_MAX_CHARACTERS]), _quote(origin.path)
        head = f'{{"source":{_quote(_name(origin.source))},"hostname":{host},"eventId":"{origin.file_id}'
        metadata = f',"metadata":{{"path":{path},"host":{host},"offset":'
        default, find_timestamp = self._default_level, self._timestamps.find

        def encode(line: Line) -> bytes:
            start, _, text, note = line
            timestamp = find_timestamp(text)
            event = (
                f'{head}{start:012x}","level":"{find_level(text) or default}","message":{_quote(text)}'
                f"{_stamp(timestamp)}{metadata}{start}{_noted(note)}}}}}"
            )
            return event.encode("utf-8", "replace")

        return encode

    def _parsed_encoder(self, origin: Origin) -> Any:
        plain, parse = self._plain_encoder(origin), self._parse
        assert parse is not None  # noqa: S101  # its only caller asks

        def encode(line: Line) -> bytes:
            start, resume, text, note = line
            # A part of a line has not its format.
            fields = parse(text) if note is None else None
            if fields is None:
                odd: bytes = plain((start, resume, text, {**(note or {}), "unparsed": True}))
                return odd
            return _dumped(self._event_of(fields, line, origin))

        return encode

    def _event_of(self, fields: dict[str, Any], line: Line, origin: Origin) -> dict[str, Any]:
        known = sort_out(fields)
        message = line[2] if known.message is None else known.message
        level = known_level(known.level)
        timestamp = self._timestamps.read(known.timestamp)
        event: dict[str, Any] = {
            "source": _name(origin.source),
            "hostname": origin.host[:NAME_MAX_CHARACTERS],
            "eventId": event_id(origin.file_id, line[0]),
            "level": level or find_level(message) or self._default_level,
            "message": message,
        }
        if timestamp is not None:
            event["timestamp"] = timestamp
        elif known.timestamp is not None:
            known.metadata["timestamp"] = as_text(known.timestamp)
        if level is None and known.level is not None:
            known.metadata["level"] = as_text(known.level)
        if known.stack_trace is not None:
            event["stackTrace"] = known.stack_trace
        if known.correlation_id is not None:
            event["correlationId"] = known.correlation_id
        event["metadata"] = {**known.metadata, "path": origin.path, "host": origin.host, "offset": line[0]}
        return event


def without_timestamp(event: bytes) -> bytes:
    """The same event with its time among the metadata: for one that the server finds too old."""
    fields = json.loads(event)
    fields["metadata"]["timestamp"] = fields.pop("timestamp", None)
    return _dumped(fields)


def _dumped(event: dict[str, Any]) -> bytes:
    return to_json(event).encode("utf-8", "replace")


def _stamp(timestamp: str | None) -> str:
    return f',"timestamp":"{timestamp}"' if timestamp is not None else ""


def _noted(note: Any) -> str:
    return f",{to_json(note)[1:-1]}" if note else ""


def _name(text: str) -> str:
    """A name of a length that Forebay takes; of a path its end says most."""
    return text[-NAME_MAX_CHARACTERS:]
