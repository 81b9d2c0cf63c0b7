"""Records that Kafka refused for what they are: each is tried alone before it becomes a dead letter.

Data plane. Brokers refuse a whole batch for one bad record, so its neighbours come here too, and leave at their first
try. The poll thread adds, the drain's thread tries and gives up. What is here is HELD in the journal. Flows have their
tries in turn and tenants their dead letters, so that one tenant's bad records keep nobody else's good ones.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable

import msgspec
from confluent_kafka import KafkaError

from ingest.dataplane import metrics
from ingest.dataplane.acks import Acknowledgements
from ingest.dataplane.faults import fault_of
from ingest.dataplane.flow import Flow
from ingest.dataplane.in_flight import InFlight
from ingest.dataplane.journal import Journal, Origin, Range
from ingest.dataplane.ledger import Ending
from ingest.dataplane.segments import HELD, Accept, DamagedFrame
from ingest.dataplane.turns import Served, Turns
from ingest.dataplane.undeliverable import DeliveryAttempt, Undeliverable

log = logging.getLogger(__name__)

# The waits before each try alone; whoever fails the last one becomes a dead letter.
WAITS_S = (0.1, 0.2, 0.4)
# A batch of neighbours must not take the drain's thread from the backlog of others.
TRIES_PER_VISIT = 50
OFFERS_PER_VISIT = 50
# How long a flow waits that may not leave now, and a tenant of whom no more dead letters are taken.
AGAIN_S = 0.5

TryAlone = Callable[[Flow, Origin, Accept, int, Acknowledgements | None], bool]
"""Produce one record in a batch of its own, for a sender who may wait; False when there is no room for it now."""


class Suspect(msgspec.Struct, gc=False):
    """One record, by where it is in its journal."""

    origin: Origin
    flow: Flow
    index: int
    code: int
    attempts: tuple[DeliveryAttempt, ...]
    due_s: float
    waits_for: Acknowledgements | None = None

    @property
    def identity(self) -> tuple[str, int]:
        """What a record is known by."""
        return self.origin[0].name, self.origin[2] + self.index


class Suspects:
    """The suspects of one worker. `offer` hands one to whoever keeps dead letters and says whether it was taken."""

    def __init__(
        self,
        try_alone: TryAlone,
        offer: Callable[[Undeliverable], bool],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._try_alone = try_alone
        self._offer = offer
        self._now_s = now_s
        self._tried: dict[tuple[str, int], tuple[DeliveryAttempt, ...]] = {}
        self._added: deque[Suspect] = deque()
        self._to_try: Turns[Suspect] = Turns(len(WAITS_S), AGAIN_S)  # by flow
        self._to_offer: Turns[Suspect] = Turns(1, AGAIN_S)  # by tenant, for so their number a second is bounded

    def __len__(self) -> int:
        """How many wait for a try, or to be kept."""
        return len(self._added) + len(self._to_try) + len(self._to_offer)

    def add(self, in_flight: InFlight, index: int, error: KafkaError) -> None:
        """A record was refused. On the poll thread."""
        identity = (in_flight.journal.name, in_flight.sequence + index)
        earlier = self._tried.pop(identity, ())
        attempt = DeliveryAttempt(time.time_ns() // 1_000_000, error.name(), error.str())
        wait_s = WAITS_S[len(earlier)] if len(earlier) < len(WAITS_S) else 0.0
        attempts, waits_for = (*earlier, attempt), in_flight.acknowledgements
        self._hold(in_flight.flow, in_flight.origin, index, error.code(), attempts, wait_s, waits_for)
        if not earlier:
            metrics.SUSPECT_EVENTS.inc()

    def give_up(self, flow: Flow, origin: Origin, indexes: Iterable[int], error: KafkaError) -> None:
        """Records that nobody waits for any longer. On the drain's thread."""
        attempt = DeliveryAttempt(time.time_ns() // 1_000_000, error.name(), error.str())
        for index in indexes:
            self._hold(flow, origin, index, error.code(), (attempt,) * (len(WAITS_S) + 1), 0.0)

    def forget(self, in_flight: InFlight) -> None:
        """It was taken by Kafka, or is pending like any other. On the poll thread."""
        for index in in_flight.indexes:
            self._tried.pop((in_flight.journal.name, in_flight.sequence + index), None)

    def visit(self) -> None:
        """Try what is due, then hand over what has failed too often: most of the first are good, of the second none.
        On the drain's thread."""
        while self._added:
            self._line_up(self._added.popleft())
        now_s = self._now_s()
        self._to_try.serve(TRIES_PER_VISIT, now_s, self._try)
        self._to_offer.serve(OFFERS_PER_VISIT, now_s, self._hand_over)

    def _line_up(self, suspect: Suspect) -> None:
        tries = len(suspect.attempts) - 1
        if tries < len(WAITS_S):
            self._to_try.put((suspect.flow.tenant, suspect.flow.topic), tries, suspect)
        else:
            self._to_offer.put(suspect.flow.tenant, 0, suspect)

    def _hold(
        self,
        flow: Flow,
        origin: Origin,
        index: int,
        code: int,
        attempts: tuple[DeliveryAttempt, ...],
        wait_s: float,
        waits_for: Acknowledgements | None = None,
    ) -> None:
        journal, segment, sequence = origin
        journal.mark(segment, sequence, [index], HELD)
        self._added.append(Suspect(origin, flow, index, code, attempts, self._now_s() + wait_s, waits_for))

    def _try(self, suspect: Suspect) -> Served:
        accept = self._read(suspect)
        if not isinstance(accept, Accept):
            return accept
        self._tried[suspect.identity] = suspect.attempts
        if self._try_alone(suspect.flow, suspect.origin, accept, suspect.index, suspect.waits_for):
            return Served.DONE
        del self._tried[suspect.identity]
        return Served.ALL_LATER

    def _hand_over(self, suspect: Suspect) -> Served:
        accept = self._read(suspect)
        if not isinstance(accept, Accept):
            return accept
        return Served.DONE if self._offer(_undeliverable(suspect, accept)) else Served.ALL_LATER

    def _read(self, suspect: Suspect) -> Accept | Served:
        """What it is a record of; or what becomes of it where that cannot be read."""
        journal, segment, sequence = suspect.origin
        try:
            return journal.read(segment, sequence)
        except DamagedFrame as damage:
            give_up_damaged(suspect.origin, damage)
            return Served.DONE
        except OSError:
            log.exception("journal %s: a refused event cannot be read; it is tried again", journal.name)
            return Served.ALONE_LATER


def give_up_damaged(origin: Origin, damage: DamagedFrame) -> None:
    """An ACCEPT cannot be read any more, so nothing of it can be sent or kept."""
    journal, segment, sequence = origin
    lost = journal.give_up_damaged(segment, sequence)
    metrics.JOURNAL_DAMAGED_FRAMES.inc()
    log.error("journal %s: %s; %d events are given up, its file will be set aside", journal.name, damage, lost)


def keep(kept: list[Undeliverable]) -> None:
    """Dead letters are kept for good: their journals need them no longer. On the thread of whoever keeps them."""
    ranges: dict[Journal, list[Range]] = {}
    for one in kept:
        journal, segment, _ = one.origin
        ranges.setdefault(journal, []).append((segment, one.sequence, 1))
    for journal, settled in ranges.items():
        journal.settle(settled, Ending.DEAD_LETTERED)


def _undeliverable(suspect: Suspect, accept: Accept) -> Undeliverable:
    record = accept.records[suspect.index]
    assert record is not None  # noqa: S101 - it is held, and what is held is kept when a segment is rewritten
    return Undeliverable(
        suspect.origin,
        suspect.index,
        accept.tenant,
        accept.accepted_wall_ms,
        accept.policy_version,
        record,
        fault_of(suspect.code),
        suspect.attempts,
    )
