"""Batches to Forebay until it has taken them: waits as long as it says, splits what is too large. One thread.

Nothing is given up: a batch is in hand until each of its events is accepted or rejected by name. While it waits nothing
else is read, so memory stays bounded.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable, Protocol

from forebay_client.tail.events import without_timestamp
from forebay_client.tail.failures import TailError
from forebay_client.wire import Outcome, Rejection

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_TOO_MANY = ("batch_exceeds_burst", "too_many_events")
_TOO_OLD = "timestamp_out_of_range"
_ADVICE = {
    401: "give a valid key: FOREBAY_KEY, key_file or --key-file",
    403: "the key may not send: it needs the scope `ingest`, an address that it allows, and a tenant that is active",
    404: "is this Forebay's address? --url takes what comes before /api/logs",
    405: "is this Forebay's address? --url takes what comes before /api/logs",
}


class Sender(Protocol):
    """Posts one batch of encoded events; `forebay_client.transport.Transport` is one."""

    def send(self, events: Sequence[bytes], /) -> Outcome: ...


class Stopped(Exception):
    """Told to end while a batch was still in hand."""


@dataclass
class Delivered:
    """What became of a batch: how many were accepted, and why the others were not, by index."""

    accepted: int = 0
    rejected: dict[int, Rejection] = field(default_factory=dict)


class Delivery:
    """`wait` sleeps for so many seconds and says whether to go on; `say` tells people, and not each time."""

    def __init__(self, sender: Sender, wait: Callable[[float], bool], say: Callable[[str], None]) -> None:
        self._sender, self._wait, self._say = sender, wait, say
        self._has_delivered = False
        self._waits = 0
        self.max_events: int | None = None
        """What Forebay has found too many for one request; to be kept to, for each such request is in vain."""

    def deliver(self, events: Sequence[bytes]) -> Delivered:
        """Returns when nothing of it is open. Raises Stopped, and TailError where Forebay turns away the very first."""
        outcome = self._settled(events)
        if outcome.is_to_be_split:
            if outcome.code in _TOO_MANY:
                self.max_events = len(events) // 2
            return self._in_halves(events)
        self._has_delivered = True
        delivered = Delivered(len(outcome.accepted), dict(outcome.rejected))
        self._send_undated(events, delivered)
        return delivered

    def _settled(self, events: Sequence[bytes]) -> Outcome:
        while True:
            outcome = self._sender.send(events)
            if outcome.retry_after_s is None:
                self._note_recovery()
                return outcome
            self._refuse_at_first(outcome)
            self._back_off(outcome)

    def _back_off(self, outcome: Outcome) -> None:
        """As long as the server says, and longer each time where it says nothing; never all senders at one moment."""
        own_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(self._waits, 10))
        asked_s = outcome.retry_after_s or 0.0
        wait_s = asked_s if asked_s > 0 else own_s
        if not self._waits:
            reason = f"{outcome.status} {outcome.code}".strip() if outcome.status else "no answer"
            self._say(f"waiting: {reason}{f', {outcome.detail}' if outcome.detail else ''}")
        self._waits += 1
        if not self._wait(wait_s * random.uniform(1.0, 1.2)):  # no secret
            raise Stopped

    def _note_recovery(self) -> None:
        if self._waits:
            self._say(f"going on after {self._waits} tries")
        self._waits = 0

    def _refuse_at_first(self, outcome: Outcome) -> None:
        """A wrong key or address is a mistake of whoever starts us; later on it may be mended while we wait."""
        if not self._has_delivered and outcome.status in _ADVICE:
            said = outcome.detail or outcome.code
            raise TailError(f"Forebay answers {outcome.status} ({said}): {_ADVICE[outcome.status]}")

    def _in_halves(self, events: Sequence[bytes]) -> Delivered:
        middle = len(events) // 2
        first, second = self.deliver(events[:middle]), self.deliver(events[middle:])
        rejected = {**first.rejected, **{middle + index: why for index, why in second.rejected.items()}}
        return Delivered(first.accepted + second.accepted, rejected)

    def _send_undated(self, events: Sequence[bytes], delivered: Delivered) -> None:
        """Events that are too old for this server once more, with their time among the metadata."""
        old = [index for index, why in delivered.rejected.items() if why.code == _TOO_OLD]
        if not old:
            return
        again = self.deliver([without_timestamp(events[index]) for index in old])
        delivered.accepted += again.accepted
        for at, index in enumerate(old):
            del delivered.rejected[index]
            if at in again.rejected:
                delivered.rejected[index] = again.rejected[at]
