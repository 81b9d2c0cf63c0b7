"""When an event happened, as its line tells: text to RFC 3339, and whether Forebay will take it. Pure but for the clock
that is handed in.

Forebay refuses a timestamp more than seven days old or ten minutes ahead. A line read late must not be lost for it, so
such a time is no timestamp: it goes into the metadata, and the event is stamped on arrival.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Callable

_ISO = re.compile(
    r"[\[<]?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d):([0-5]\d)(?:[.,](\d{1,9}))?\s?(Z|z|UTC|[+-]\d\d:?\d\d)?(?![\d:])"
)
# A little inside of what the server takes: clocks differ, and a batch may wait.
MAX_AGE_S = 7 * 86_400 - 3_600
MAX_AHEAD_S = 540
_MILLISECONDS_FROM = 100_000_000_000
_LATEST_S = 32_503_680_000  # the year 3000

_YEARS = ("%Y", "%y", "%c", "%x", "%G")


class Timestamps:
    """Texts to RFC 3339. `zone` is that of times that name none; None is this machine's."""

    def __init__(self, *, zone: tzinfo | None = None, wall_s: Callable[[], float] = time.time, form: str = "") -> None:
        self._zone, self._wall_s, self._form = zone, wall_s, form
        self._oldest_s = self._latest_s = 0.0
        self._minute_s = lru_cache(maxsize=256)(self._parse_minute)

    def start_batch(self) -> None:
        """Looks at the clock: often enough for what is compared with days."""
        now_s = self._wall_s()
        self._oldest_s, self._latest_s = now_s - MAX_AGE_S, now_s + MAX_AHEAD_S

    def find(self, text: str) -> str | None:
        """The ISO 8601 time at the beginning of a line, in a form and of an age that Forebay takes."""
        found = _ISO.match(text)
        if found is None:
            return None
        day, minute, second, fraction, zone = found.groups()
        around = self.around_second(f"{day} {minute}", zone)
        return around and f"{around[0]}{second}{'.' + fraction if fraction else ''}{around[1]}"

    def around_second(self, minute: str, zone: str | None) -> tuple[str, str] | None:
        """What stands before and behind the seconds in RFC 3339; None for a minute that Forebay does not take."""
        found = self._minute_s(minute, zone or None)
        if found is None or not self._oldest_s <= found[0] <= self._latest_s:
            return None
        return f"{minute[:10]}T{minute[11:]}:", found[1]

    def read(self, value: object) -> str | None:
        """A field that holds a time: ISO 8601, epoch seconds or milliseconds, or what the form says."""
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, (int, float)):
            return self._of_epoch(value)
        text = str(value).strip()
        if self._form:
            return self._of_form(text)
        try:
            return self._of_epoch(float(text))
        except ValueError:
            return self.find(text)

    def _parse_minute(self, minute: str, zone: str | None) -> tuple[float, str] | None:
        """Its epoch seconds and its zone as RFC 3339 writes it."""
        try:
            naive = datetime.strptime(minute.replace("T", " "), "%Y-%m-%d %H:%M")  # noqa: DTZ007  # its zone comes next
            moment = naive.replace(tzinfo=self._zone_of(zone)) if zone or self._zone else naive.astimezone()
            return moment.timestamp(), _offset(moment)
        except (ValueError, OverflowError, OSError):
            return None

    def _zone_of(self, text: str | None) -> tzinfo | None:
        if text is None:
            return self._zone
        if text in ("Z", "z", "UTC"):
            return timezone.utc
        minutes = int(text[1:3]) * 60 + int(text[-2:])
        return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))

    def _of_form(self, text: str) -> str | None:
        moment = self._parse_form(text)
        if moment is None:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone) if self._zone else moment.astimezone()
        return self._if_taken(moment)

    def _parse_form(self, text: str) -> datetime | None:
        """A form without a year, as syslog's, means the last time that it was so."""
        if any(year in self._form for year in _YEARS):
            return _strptime(text, self._form)
        latest = datetime.fromtimestamp(self._latest_s, self._zone).replace(tzinfo=None)
        found = (_strptime(f"{year} {text}", f"%Y {self._form}") for year in (latest.year, latest.year - 1))
        return next((one for one in found if one is not None and one.replace(tzinfo=None) <= latest), None)

    def _of_epoch(self, value: float) -> str | None:
        seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
        if not 0 <= seconds <= _LATEST_S:
            return None
        return self._if_taken(datetime.fromtimestamp(seconds, timezone.utc))

    def _if_taken(self, moment: datetime) -> str | None:
        if not self._oldest_s <= moment.timestamp() <= self._latest_s:
            return None
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}" + _offset(moment)


def _strptime(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007  # with the form's zone, or without
    except ValueError:
        return None


def _offset(moment: datetime) -> str:
    minutes = round((moment.utcoffset() or timedelta()).total_seconds() / 60)
    if not minutes:
        return "Z"
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
