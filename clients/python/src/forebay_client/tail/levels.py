"""The level that a line of text tells. Pure."""

from __future__ import annotations

import re

# All spellings that Forebay takes, see its docs/api.md.
_NAMES = (
    *("TRACE", "VERBOSE", "FINEST", "DEBUG", "FINE", "INFO", "INFORMATION", "INFORMATIONAL", "NOTICE"),
    *("WARN", "WARNING", "ERROR", "ERR", "SEVERE", "FATAL", "CRITICAL", "CRIT", "ALERT", "EMERGENCY", "EMERG", "PANIC"),
)
KNOWN = frozenset(_NAMES) | {str(severity) for severity in range(8)}
# Where a message begins in most formats. Beyond that a word is rather part of what is told.
_WITHIN_CHARACTERS = 120
PATTERN = "|".join(sorted(_NAMES, key=len, reverse=True))
# A word in capitals, or one in brackets or after `level=` in any case: "no error" in a sentence is none. Each pattern
# begins with the characters that the search can skip to; with alternatives in front it takes ten times as long.
_CAPITALS = re.compile(rf"(?:{PATTERN})(?![A-Za-z0-9])")
_BRACKETED = re.compile(rf"[\[<]\s?(?:\w+:)?({PATTERN})[\]>\s:]", re.IGNORECASE)
_ASSIGNED = re.compile(rf"\"?({PATTERN})\b", re.IGNORECASE)
_ASSIGNS = ("level=", "lvl=", "severity=")


def find_level(text: str) -> str | None:
    """In capitals, or None."""
    found = _CAPITALS.search(text, 0, _WITHIN_CHARACTERS)
    if found is not None:
        begin, end = found.span()
        if not text[max(0, begin - 1) : begin].isalnum():
            return text[begin:end]
    found = _BRACKETED.search(text, 0, _WITHIN_CHARACTERS)
    if found is not None:
        return found.group(1).upper()
    for name in _ASSIGNS:
        at = text.find(name, 0, _WITHIN_CHARACTERS)
        if at >= 0:
            found = _ASSIGNED.match(text, at + len(name))
            if found is not None:
                return found.group(1).upper()
    return None


def known_level(value: object) -> str | None:
    """A level in a form that Forebay takes; numbers as pino and bunyan write them, 10 to 60, too."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value).strip().upper()
    if text in KNOWN:
        return text
    return _BUNYAN.get(text)


_BUNYAN = {"10": "TRACE", "20": "DEBUG", "30": "INFO", "40": "WARN", "50": "ERROR", "60": "FATAL"}
