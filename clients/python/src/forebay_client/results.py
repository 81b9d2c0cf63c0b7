"""What the application is told: the result of one event, the counters of all, and the errors that a send can raise.

ForebayError
├── Rejected        the event was not accepted, and sending it again unchanged gives the same answer
└── Unacknowledged  no acknowledgement within the time: not accepted, or nobody knows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable

from forebay_client.wire import Outcome, Place


@dataclass(frozen=True)
class Result:
    """What became of one event."""

    event_id: str
    status: str
    """Delivered: Kafka has it, at `place`. Pending: Forebay's journal has it, Kafka has not answered in time.
    Accepted: by Forebay; a rule or its copy dropped it, or no acknowledgement was asked for. Rejected: for the reason
    `code`. And where nobody waits for an answer any longer, Spooled: on this machine's disk, to be sent by this or a
    later process; Dropped: lost, for the reason `code`."""
    place: Place | None = None
    code: str = ""
    detail: str = ""


Callback = Callable[[Result], None]


class ForebayError(Exception):
    """Whatever an acknowledged send raises."""


class Rejected(ForebayError):
    """The event was not accepted; `result` tells the code."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.code}: {result.detail}")
        self.result = result


class Unacknowledged(ForebayError):
    """There was no acknowledgement within the time; `outcome` is that of the last attempt.

    The event may have arrived if an attempt got no answer. Send the same Event again: its id tells a copy.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.code}: {outcome.detail}")
        self.outcome = outcome


@dataclass(frozen=True)
class Counters:
    """Events since the start of this process, or since it was forked. When nothing is on its way:

    taken + recovered = accepted + rejected + dropped + buffered_events + spool_events
    """

    taken: int = 0
    """Handed over by the application; acknowledged sends, which the caller hears of, are not counted."""
    recovered: int = 0
    """Found in spools that earlier processes left."""
    accepted: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    """By Forebay's error code."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By reason: buffer_full; closed: unsent at the end; after_close; unencodable; spool_lost: their file is gone."""
    buffered_events: int = 0
    """In memory now, those on their way among them."""
    buffered_bytes: int = 0
    spooled: int = 0
    """Written to the disk, sent since or not."""
    spool_events: int = 0
    """On the disk now."""
    spool_bytes: int = 0
    requests: int = 0
    retries: int = 0
    """Requests after one that failed: further attempts."""
    spool_errors: int = 0
    """Times that the disk could not be written or read."""
    callback_errors: int = 0
    """Times that the application's own callback raised."""


def result_of(event_id: str, index: int, outcome: Outcome) -> Result:
    """Of the event at `index` in a settled batch that was sent for an acknowledgement."""
    rejection = outcome.rejected.get(index)
    if rejection is not None:
        return Result(event_id, "Rejected", code=rejection.code, detail=rejection.detail)
    place = outcome.places.get(index)
    if place is not None:
        return Result(event_id, "Delivered", place)
    return Result(event_id, "Pending" if index in outcome.pending else "Accepted")
