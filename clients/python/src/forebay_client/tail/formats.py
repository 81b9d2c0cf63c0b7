"""What is in a line: a JSON object, logfmt, or what a pattern's named groups find. Pure.

Each parser takes a line's text and gives its fields by name, or None for a line that has not the format. Such a line is
sent as it is, and its metadata says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

Fields = dict[str, Any]
Parse = Callable[[str], Optional[Fields]]
PLAIN, JSON, LOGFMT, PATTERN = "plain", "json", "logfmt", "pattern"
NAMES = (PLAIN, JSON, LOGFMT, PATTERN)

# Made once: `json.dumps` with other than its own defaults makes an encoder a call.
to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_PAIR = re.compile(r'([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*)))?(?:\s+|$)')
_ESCAPED = re.compile(r"\\(.)")
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}
# By what libraries call them, the likeliest first.
MESSAGE_NAMES = ("message", "msg", "event", "log", "text")
LEVEL_NAMES = ("level", "severity", "lvl", "levelname", "log.level", "loglevel", "severity_text")
TIMESTAMP_NAMES = ("timestamp", "@timestamp", "time", "ts", "datetime", "asctime", "t")
STACK_NAMES = ("stackTrace", "stack_trace", "stack", "exc_info", "exception", "traceback")
CORRELATION_NAMES = ("correlationId", "correlation_id", "trace_id", "traceId", "request_id")
# Forebay takes 64 entries, and five are ours.
METADATA_MAX_ENTRIES = 56
_OVERFLOW = "moreFields"


class Known(NamedTuple):
    """Fields sorted by what Forebay calls them; `metadata` holds all others as text, number, boolean or null."""

    message: str | None
    level: object
    timestamp: object
    stack_trace: str | None
    correlation_id: str | None
    metadata: Fields


def parser_of(name: str, pattern: str = "") -> Parse | None:
    """None for plain text. Raises re.error for a pattern that is none."""
    if name == JSON:
        return parse_json
    if name == LOGFMT:
        return parse_logfmt
    return pattern_parser(pattern) if name == PATTERN else None


def parse_json(text: str) -> Fields | None:
    """An object of JSON. Deep nesting is no log line."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse_logfmt(text: str) -> Fields | None:
    """`key=value key="a value" flag`: one pair at least, and nothing that is none."""
    fields: Fields = {}
    at, pairs = 0, 0
    text = text.strip()
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            return None
        name, quoted, bare = found.groups()
        pairs += quoted is not None or bare is not None
        fields[name] = _unescaped(quoted) if quoted is not None else True if bare is None else bare
        at = found.end()
    return fields if pairs else None


def pattern_parser(pattern: str) -> Parse:
    """By the named groups of a regular expression that is found in the line; a group that took no part is left out."""
    search = re.compile(pattern).search

    def parse(text: str) -> Fields | None:
        found = search(text)
        return found and {name: value for name, value in found.groupdict().items() if value is not None}

    return parse


def sort_out(fields: Mapping[str, Any]) -> Known:
    """Which field is which. Values that nest become JSON text; what is beyond the entries that Forebay takes, one
    entry of JSON text."""
    rest = dict(fields)
    message = _taken(rest, MESSAGE_NAMES)
    known = Known(
        None if message is None else as_text(message),
        _taken(rest, LEVEL_NAMES),
        _taken(rest, TIMESTAMP_NAMES),
        _optional_text(_taken(rest, STACK_NAMES)),
        _correlation(rest),
        {},
    )
    names = list(rest)
    for name in names[:METADATA_MAX_ENTRIES]:
        known.metadata[name] = as_scalar(rest[name])
    if names[METADATA_MAX_ENTRIES:]:
        known.metadata[_OVERFLOW] = as_text({name: rest[name] for name in names[METADATA_MAX_ENTRIES:]})
    return known


def as_scalar(value: object) -> str | int | float | bool | None:
    """What metadata may hold."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return as_text(value)


def as_text(value: object) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else to_json(value)


def _taken(fields: Fields, names: tuple[str, ...]) -> Any:
    for name in names:
        if fields.get(name) is not None:
            return fields.pop(name)
    return None


def _correlation(fields: Fields) -> str | None:
    """Only what Forebay takes as one; else it stays where it is."""
    for name in CORRELATION_NAMES:
        value = fields.get(name)
        if isinstance(value, str) and 1 <= len(value) <= 255:
            del fields[name]
            return value
    return None


def _optional_text(value: object) -> str | None:
    return None if value is None else as_text(value)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: _CONTROL.get(found[1], found[1]), text) if "\\" in text else text
