"""A syslog message to an event: RFC 5424, and whatever else comes, which is what RFC 3164 describes.

The edge of the data plane; pure. Nothing is refused for its form: what is not understood stays in the message, so that
a device which is a little wrong is heard all the same.
"""

import re
from calendar import timegm
from datetime import UTC, datetime
from typing import Final, NamedTuple

from ingest.dataplane.event import EventLimits, LogEvent, Scalar
from ingest.dataplane.redaction import mask_our_keys

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)
_PRI: Final = re.compile(r"<(\d{1,3})>")
_NO_PRI: Final = 13  # user.notice, as RFC 3164, 4.3.3 has it for a relay
_5424: Final = re.compile(r"1 (\S+) (\S+) (\S+) (\S+) (\S+) ?")
_ELEMENT: Final = re.compile(r'\[([^\s=\]"]{1,32})((?: [^\s=\]"]{1,32}="(?:[^"\\\]]|\\.)*+")*+) ?\]', re.DOTALL)
_PARAM: Final = re.compile(r' ([^\s=\]"]{1,32})="((?:[^"\\\]]|\\.)*+)"', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\\]])')
# RFC 3164, 4.1.2; the day is filled with a blank, by some senders with a zero, and some add the year or a fraction.
_3164_TIME: Final = re.compile(
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([ 0]?\d|[12]\d|3[01])(?: (\d{4}))?"
    r" (\d\d):(\d\d):(\d\d)(\.\d{1,6})?:? "
)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_HOST: Final = re.compile(r"([A-Za-z0-9_.:-]{1,255}) ")
_TAG: Final = re.compile(r"([^\s:\[\]]{1,48})(?:\[([^\]\s]{1,128})\])?: ?")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAME_CHARACTERS: Final = 255
# The element whose `key` says whose message it is. Any enterprise number will do.
_OURS: Final = "forebay@"
_HALF_A_YEAR_S: Final = 183 * 86_400


class SyslogMessage(NamedTuple):
    """The event, and the API key that came in its structured data, which is not in the event."""

    event: LogEvent
    key: str | None


def parse(message: bytes, received_wall_ms: int, limits: EventLimits) -> SyslogMessage:
    """Never fails. A time that cannot be true is kept as metadata, and the event has that of its arrival.

    Bytes that are not UTF-8 appear as escapes. A time without a zone is taken as UTC, one without a year as the
    nearest.
    """
    text = message.decode(errors="backslashreplace")
    pri, rest = _NO_PRI, text
    if (found := _PRI.match(text)) and int(found[1]) < 8 * len(FACILITIES):
        pri, rest = int(found[1]), text[found.end() :]
    header = _5424.match(rest)
    metadata: dict[str, Scalar] = {"facility": FACILITIES[pri >> 3]}
    if header:
        parsed = _modern(header, rest[header.end() :], pri, metadata, received_wall_ms, limits)
    else:
        parsed = SyslogMessage(_traditional(rest, pri, metadata, received_wall_ms, limits), None)
    if "fb_" in text:
        _mask_keys(parsed.event)
    return parsed


def _modern(
    header: re.Match[str],
    rest: str,
    pri: int,
    metadata: dict[str, Scalar],
    received_wall_ms: int,
    limits: EventLimits,
) -> SyslogMessage:
    time, host, app, proc_id, msg_id = (None if field == "-" else field for field in header.groups())
    key, message = _structured(rest, metadata, limits.metadata_max_entries - 4)
    metadata |= {name: value for name, value in (("procid", proc_id), ("msgid", msg_id)) if value}
    event = LogEvent(
        source=(app or host or "syslog")[:_NAME_CHARACTERS],
        level=pri & 7,
        message=message.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}"),
        timestamp=_believed(time, metadata, received_wall_ms, limits),
        hostname=host[:_NAME_CHARACTERS] if host else None,
        metadata=metadata,
    )
    return SyslogMessage(event, key)


def _structured(rest: str, metadata: dict[str, Scalar], room: int) -> tuple[str | None, str]:
    """The key if one came, and what follows the structured data; the rest of that goes into the metadata."""
    if rest == "-" or rest.startswith("- "):
        return None, rest[2:]
    key, at = None, 0
    while element := _ELEMENT.match(rest, at):
        at = element.end()
        for name, value in _PARAM.findall(element[2]):
            if element[1].startswith(_OURS) and name == "key":
                key = _ESCAPED.sub(r"\1", value)
            elif len(metadata) < room:
                metadata[f"{element[1]}.{name}"] = _ESCAPED.sub(r"\1", value)
    return key, rest[at:].removeprefix(" ") if at else rest


def _mask_keys(event: LogEvent) -> None:
    """What stays in the message because it is not understood may hold a key."""
    event.source, event.message = mask_our_keys(event.source), mask_our_keys(event.message)
    event.hostname = event.hostname and mask_our_keys(event.hostname)
    event.metadata = {name: mask_our_keys(str(value)) for name, value in (event.metadata or {}).items()}


def _traditional(
    rest: str, pri: int, metadata: dict[str, Scalar], received_wall_ms: int, limits: EventLimits
) -> LogEvent:
    time, rest = _traditional_time(rest, received_wall_ms)
    host = None
    # Without a time nothing tells a host from the first word of a message.
    if time and (found := _HOST.match(rest)) and not _TAG.match(rest):
        host, rest = found[1], rest[found.end() :]
    tag = _TAG.match(rest)
    if tag:
        rest = rest[tag.end() :]
        if tag[2]:
            metadata["procid"] = tag[2]
    return LogEvent(
        source=tag[1] if tag else host or "syslog",
        level=pri & 7,
        message=rest,
        timestamp=_believed(time, metadata, received_wall_ms, limits),
        hostname=host,
        metadata=metadata,
    )


def _traditional_time(rest: str, received_wall_ms: int) -> tuple[str | None, str]:
    if found := _3164_TIME.match(rest):
        month, day, year, hour, minute, second, fraction = found.groups()
        parts = (_MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
        return _dated(int(year) if year else None, parts, fraction or "", received_wall_ms), rest[found.end() :]
    # Many senders of the old form write the new form's time.
    if found := _RFC3339.match(rest):
        return found[0], rest[found.end() :].removeprefix(" ")
    return None, rest


def _dated(year: int | None, parts: tuple[int, int, int, int, int], fraction: str, received_wall_ms: int) -> str:
    received_s = received_wall_ms / 1000
    if year is None:
        year = datetime.fromtimestamp(received_s, UTC).year
        ahead_s = timegm((year, *parts, 0, 0, 0)) - received_s
        year += (ahead_s < -_HALF_A_YEAR_S) - (ahead_s > _HALF_A_YEAR_S)
    month, day, hour, minute, second = parts
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{fraction}Z"


def _believed(time: str | None, metadata: dict[str, Scalar], received_wall_ms: int, limits: EventLimits) -> str | None:
    """A clock that is off must not cost the event."""
    if time is None:
        return None
    try:
        wall_ms = int(datetime.fromisoformat(time).timestamp() * 1000) if _RFC3339.fullmatch(time) else None
    except ValueError:
        wall_ms = None
    oldest_ms, newest_ms = -limits.timestamp_max_age_s * 1000, limits.timestamp_max_ahead_s * 1000
    if wall_ms is not None and oldest_ms < wall_ms - received_wall_ms < newest_ms:
        return time
    metadata["timestamp"] = time[:_NAME_CHARACTERS]
    return None
