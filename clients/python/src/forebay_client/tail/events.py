"""Lines to encoded events, the bytes that go to Forebay. Pure but for the clock of the timestamps.

An event's id is a UUID of version 8 (RFC 9562, 5.8): 74 bits say which file, the last 48 at which offset its line
begins. So a line that is sent again, by whatever process, has the id that it had, and Forebay or a consumer knows it.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from forebay_client.tail.formats import Parse, as_text, sort_out, to_json
from forebay_client.tail.levels import PATTERN as LEVEL_PATTERN
from forebay_client.tail.levels import find_level, known_level
from forebay_client.tail.lines import Line, Lines, Note
from forebay_client.tail.timestamps import Timestamps

NAME_MAX_CHARACTERS = 255
# How most lines begin: a time in UTC or without a zone, then a level. What it finds is what `find_level` and
# `Timestamps.find` would, in half of their time.
_USUAL = re.compile(
    rf"(\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d):([0-5]\d)(?:[.,](\d{{1,9}}))?(Z?)"
    rf"[ \t\[|]{{1,4}}({LEVEL_PATTERN})(?![A-Za-z0-9])"
)
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
        if self._parse is None:
            return self._encode_plain(lines, origin)
        return [self._encode_parsed(line, origin, self._parse) for line in lines]

    def _encode_plain(self, lines: Lines, origin: Origin) -> list[bytes]:
        """One loop and one text a line: of the four microseconds that a line may take, each call would cost a tenth."""
        host, path = _quote(origin.host[:NAME_MAX_CHARACTERS]), _quote(origin.path)
        head = f'{{"source":{_quote(_name(origin.source))},"hostname":{host},"eventId":"{origin.file_id}'
        metadata = f',"metadata":{{"path":{path},"host":{host},"offset":'
        usual, quote, timestamps = _USUAL.match, _quote, self._timestamps
        events: list[bytes] = []
        add = events.append
        minute = zone = around = None
        before = behind = ""
        for start, _, text, note in lines:
            found = usual(text)
            if found is None:
                level = find_level(text) or self._default_level
                timestamp = timestamps.find(text)
                stamp = f',"timestamp":"{timestamp}"' if timestamp else ""
            else:
                its_minute, second, fraction, its_zone, level = found.groups()
                if its_minute != minute or its_zone != zone:
                    minute, zone = its_minute, its_zone
                    around = timestamps.around_second(minute, zone)
                    before, behind = (f',"timestamp":"{around[0]}', f'{around[1]}"') if around else ("", "")
                if not around:
                    stamp = ""
                elif fraction:
                    stamp = f"{before}{second}.{fraction}{behind}"
                else:
                    stamp = f"{before}{second}{behind}"
            event = (
                f'{head}{start:012x}","level":"{level}","message":{quote(text)}{stamp}{metadata}{start}'
                f"{_noted(note) if note else ''}}}}}"
            )
            add(event.encode("utf-8", "replace"))
        return events

    def _encode_parsed(self, line: Line, origin: Origin, parse: Parse) -> bytes:
        start, resume, text, note = line
        # A part of a line has not its format.
        fields = parse(text) if note is None else None
        if fields is None:
            return self._encode_plain([(start, resume, text, {**(note or {}), "unparsed": True})], origin)[0]
        return _dumped(self._event_of(fields, line, origin))

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


def _noted(note: Note) -> str:
    return f",{to_json(note)[1:-1]}"


def _name(text: str) -> str:
    """A name of a length that Forebay takes; of a path its end says most."""
    return text[-NAME_MAX_CHARACTERS:]
