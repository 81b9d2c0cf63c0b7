"""What `forebay tail` is told: by a file, by flags, by the environment. Read once, at the start."""

from __future__ import annotations

import configparser
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timezone
from pathlib import Path
from typing import Any, Callable

from forebay_client.tail import formats, levels, lines
from forebay_client.tail.events import EventEncoder
from forebay_client.tail.failures import TailError
from forebay_client.tail.grouping import Grouper, starts_unindented, starts_with
from forebay_client.tail.timestamps import Timestamps

# Of control characters JSON makes six each, and Forebay takes events of 1 MiB.
MAX_LINE_BYTES = 128 << 10
_LINE_BYTES_AT_MOST = 1 << 20
MULTILINE = ("off", "indent", "start")


@dataclass(frozen=True)
class Input:
    """Files of one kind, and how they are read."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    source: str = ""
    """Empty: the path."""
    format: str = formats.PLAIN
    pattern: str = ""
    timestamp_format: str = ""
    zone: str = "local"
    level: str = "INFO"
    encoding: str = "utf-8"
    multiline: str = "off"
    multiline_start: str = ""
    multiline_wait_s: float = 2.0
    multiline_max_lines: int = 1000
    max_line_bytes: int = MAX_LINE_BYTES
    long_lines: str = lines.SPLIT

    def encoder(self) -> EventEncoder:
        zone = timezone.utc if self.zone == "utc" else None
        timestamps = Timestamps(zone=zone, form=self.timestamp_format)
        return EventEncoder(formats.parser_of(self.format, self.pattern), timestamps, default_level=self.level)

    def framer(self, offset: int, encoding: lines.Encoding) -> lines.LineFramer:
        return lines.LineFramer(offset, encoding, max_line_bytes=self.max_line_bytes, overlong=self.long_lines)

    def grouper(self) -> Grouper | None:
        if self.multiline == "off":
            return None
        starts = starts_with(self.multiline_start) if self.multiline == "start" else starts_unindented
        return Grouper(starts, max_lines=self.multiline_max_lines, max_bytes=self.max_line_bytes)


@dataclass(frozen=True)
class Options:
    """Everything. Times in seconds."""

    inputs: tuple[Input, ...]
    url: str
    key: str
    state: Path
    host: str = field(default_factory=socket.gethostname)
    start_at_end: bool = False
    once: bool = False
    rescan_s: float = 2.0
    poll_s: float = 0.25
    close_after_s: float = 10.0
    checkpoint_s: float = 1.0
    batch_events: int = 5000
    batch_bytes: int = 1 << 20
    max_open_files: int = 500
    report_s: float = 10.0
    rejected_file: Path | None = None
    wall_s: Callable[[], float] = time.time


def default_state() -> Path:
    """As the XDG base directory specification has it."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "forebay-tail"


def read_file(path: Path) -> tuple[dict[str, Any], list[Input]]:
    """Section [forebay] by option, and an input for each section [files NAME]. Raises TailError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
        shared, inputs = {}, []
        for section in parser.sections():
            if section == "forebay":
                shared = _values(parser[section], _SHARED, section)
            elif section.split(maxsplit=1)[0] == "files":
                inputs.append(Input(**_values(parser[section], _OF_FILES, section)))
            else:
                raise TailError(f"section [{section}] is neither [forebay] nor [files NAME]")
    except TailError as error:
        raise TailError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError, configparser.Error, TypeError) as error:
        raise TailError(f"{path}: {_in_one_line(error)}") from error
    return shared, inputs


def checked(one: Input) -> Input:
    """The same, or TailError with what is wrong."""
    if not one.paths:
        raise TailError("no paths: name files or globs such as '/var/log/app/*.log'")
    _one_of("format", one.format, formats.NAMES)
    _one_of("encoding", one.encoding, lines.NAMES)
    _one_of("multiline", one.multiline, MULTILINE)
    _one_of("long_lines", one.long_lines, (lines.SPLIT, lines.CUT))
    _one_of("zone", one.zone, ("local", "utc"))
    if levels.known_level(one.level) is None:
        raise TailError(f"level {one.level!r} is none that Forebay knows: TRACE, DEBUG, INFO, WARN, ERROR, FATAL")
    if not 64 <= one.max_line_bytes <= _LINE_BYTES_AT_MOST:
        raise TailError(f"max_line_bytes {one.max_line_bytes} is not between 64 and {_LINE_BYTES_AT_MOST}")
    if one.pattern and one.format == formats.PLAIN:
        one = replace(one, format=formats.PATTERN)
    if one.multiline_start and one.multiline == "off":
        one = replace(one, multiline="start")
    if (one.format == formats.PATTERN) != bool(one.pattern):
        raise TailError("format pattern and a pattern belong together")
    if (one.multiline == "start") != bool(one.multiline_start):
        raise TailError("multiline start and multiline_start, a pattern, belong together")
    if one.pattern and not _pattern("pattern", one.pattern).groupindex:
        raise TailError("the pattern has no named group: write (?P<message>...), (?P<level>...), (?P<timestamp>...)")
    if one.multiline_start:
        _pattern("multiline_start", one.multiline_start)
    return replace(one, paths=tuple(map(os.path.abspath, one.paths)), level=one.level.upper())


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise TailError(f"{name} {value!r} is none of {', '.join(known)}")


def _pattern(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise TailError(f"{name} {text!r} is no regular expression: {error}") from None


def _values(section: Mapping[str, str], known: Mapping[str, Callable[[str], Any]], name: str) -> dict[str, Any]:
    found = {}
    for option, text in section.items():
        if option not in known:
            raise TailError(f"[{name}] has no option {option!r}; it has {', '.join(known)}")
        try:
            found[option] = known[option](text.strip())
        except ValueError as error:
            raise TailError(f"[{name}] {option} = {text!r}: {error}") from None
    return found


def _paths(text: str) -> tuple[str, ...]:
    """One a line: a path may hold blanks."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def positive(text: str) -> float:
    """Seconds. Raises ValueError."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("not above 0")
    return value


def natural(text: str) -> int:
    """A count from 1 up. Raises ValueError."""
    value = int(text)
    if value < 1:
        raise ValueError("not above 0")
    return value


def _switch(text: str) -> bool:
    if text.lower() not in ("yes", "no", "true", "false", "on", "off"):
        raise ValueError("neither yes nor no")
    return text.lower() in ("yes", "true", "on")


_READERS: dict[str, Callable[[str], Any]] = {
    "tuple[str, ...]": _paths,
    "str": str,
    "int": natural,
    "float": positive,
    "bool": _switch,
    "Path": Path,
    "Path | None": Path,
}
_OF_FILES = {one.name: _READERS[str(one.type)] for one in fields(Input)}
_SHARED = {
    **{one.name: _READERS[str(one.type)] for one in fields(Options) if one.name not in ("inputs", "once", "wall_s")},
    "key_file": Path,
}
SHARED_NAMES = frozenset(_SHARED) - {"key", "key_file"}
FILES_NAMES = frozenset(_OF_FILES)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
