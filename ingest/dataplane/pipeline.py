"""The path of an event, top to bottom: the one screen that the rest of the data plane hangs from.

Data plane. `accept` runs under the lane lock, one request at a time in a process; it never blocks but for the journal's
write, and touches neither database, Redis nor log. docs/event-path.md tells the same story to a reader.
"""

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import msgspec

from ingest.dataplane.acks import AckBudget, Acknowledgements
from ingest.dataplane.callers import Caller
from ingest.dataplane.delivery import InFlight
from ingest.dataplane.drain import Drain
from ingest.dataplane.errors import BadRequest, EventRejected, Refused, TooLarge, Unavailable, quota_refused
from ingest.dataplane.event import Decoded, EventLimits, Stamp, check_size, complete, encode, event_ids, rfc3339
from ingest.dataplane.journal import Journal
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.recent import RecentEvents
from ingest.dataplane.routing import Delivery
from ingest.dataplane.segments import PENDING, Record
from tenants.leases import Allowance

# Compared with every event's delivery; a member of an enumeration takes longer to look up than to compare.
_ACK = Delivery.ACK.value

Decode = Callable[[bytes, int], Decoded]
"""A protocol's bytes to events; the number is how many a request may hold. Raises BadRequest."""


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """What the pipeline must know of a request beside its body. `delivery` is the request's own choice, if any."""

    caller: Caller
    allowance: Allowance
    topics: dict[str, TopicPolicy]
    dialect: str
    peer_address: str
    correlation_id: str
    delivery: str


class Pipeline:
    """One per process."""

    def __init__(
        self,
        limits: EventLimits,
        journal: Journal,
        drain: Drain,
        produce: Callable[..., None],
        completed: "deque[InFlight]",
        ack_budget: AckBudget,
        recent: RecentEvents,
        received_by: str,
    ) -> None:
        self._limits = limits
        self._journal = journal
        self._drain = drain
        self._produce = produce
        self._completed = completed
        self._ack_budget = ack_budget
        self._recent = recent
        self._received_by = received_by

    def accept(self, decode: Decode, body: bytes, arrival: Arrival) -> Outcome:
        """Take a request's events in: after this they are in the journal, or the sender is told which are not and why.

        `body` is the decompressed body. Under the lane lock. Raises Refused; then nothing of the request was accepted.
        """
        caller, limits = arrival.caller, self._limits
        decoded = self._decode(decode, body, arrival)
        events, indexes, rejected = decoded
        received = len(events) + len(rejected)
        if received > limits.request_max_events:
            detail = f"At most {limits.request_max_events} events go in one request; split it"
            raise _counted(arrival, received, TooLarge("too_many_events", detail))
        refusal = arrival.allowance.charge(received, len(body))
        if refusal is not None:
            raise _counted(arrival, received, quota_refused(refusal))

        received_wall_ms = time.time_ns() // 1_000_000
        received_at = rfc3339(received_wall_ms)
        stamp = Stamp(
            caller.tenant.name,
            arrival.peer_address,
            arrival.correlation_id,
            self._received_by,
            received_wall_ms,
            received_at,
            event_ids(received_wall_ms),
        )
        remembered, route = caller.router.remembered, caller.router.route
        records: list[Record] = []
        dropped: dict[int, str] = {}
        surely_fits_bytes, add = limits.surely_fits_bytes, records.append
        wants_ack = arrival.delivery == _ACK
        heeds_route = not arrival.delivery
        for index, event in zip(indexes, events, strict=True):
            try:
                complete(event, stamp, limits)
                topic, partition, key, delivery, drop_reason = remembered.get((event.source, event.level)) or route(
                    event
                )
                if drop_reason:
                    dropped[index] = drop_reason
                    continue
                value = encode(event)
                if len(value) + len(key) > surely_fits_bytes:
                    known = arrival.topics.get(topic)
                    check_size(len(value) + len(key), limits, known.event_max_bytes if known else sys.maxsize)
            except EventRejected as error:
                rejected[index] = error
                continue
            add((topic, partition, key, value))
            if heeds_route and delivery == _ACK:
                wants_ack = True

        outcome = Outcome(received_at, decoded, received - len(rejected), rejected, dropped, wants_ack)
        if wants_ack:
            outcome.record_indexes = [i for i in indexes if i not in rejected and i not in dropped]
        if records:
            try:
                self._journal_and_produce(caller.tenant.name, received_wall_ms, records, arrival.topics, outcome)
            except Unavailable as unavailable:
                arrival.allowance.give_back(received, len(body))
                raise _counted(arrival, received, unavailable) from None
            self._recent.add(caller.tenant.name, records[-1][3], len(records))
        return outcome

    def _decode(self, decode: Decode, body: bytes, arrival: Arrival) -> Decoded:
        """A body that cannot be taken apart costs its sender what one event does."""
        try:
            return decode(body, self._limits.request_max_events)
        except BadRequest as refused:
            arrival.allowance.charge(1, len(body))
            raise _counted(arrival, 1, refused) from None

    def _journal_and_produce(
        self,
        tenant: str,
        received_wall_ms: int,
        records: list[Record],
        topics: dict[str, TopicPolicy],
        outcome: Outcome,
    ) -> None:
        segment, at, sequence = self._journal.append(tenant, received_wall_ms, records)
        place = (self._journal, segment, at, sequence)
        behind = self._drain.behind
        by_topic = _by_topic(records)
        late = [topic for topic in by_topic if topic not in topics or (behind and (tenant, topic) in behind)]
        if outcome.wanted_ack and not late and self._ack_budget.take(tenant):
            outcome.waits_for = Acknowledgements(len(records))
        for topic, indexes in by_topic.items():
            left: Sequence[int] = indexes
            if topic not in late:
                in_flight = InFlight(self._completed, place, tenant, topic, indexes, outcome.waits_for)
                left = in_flight.produce(self._produce, records, received_wall_ms)
            if left:
                self._journal.mark(segment, at, sequence, left, PENDING)
                behind[tenant, topic] += len(left)


def _counted(arrival: Arrival, events: int, refused: Refused) -> Refused:
    """The refusal of a whole request: all of its events are rejected for its reason."""
    arrival.caller.meter(arrival.dialect).rejected(refused.code, events)
    return refused


def count(arrival: Arrival, outcome: Outcome, size_bytes: int) -> None:
    """Move the metrics of a request, once it is known what became of it. Any thread."""
    meter = arrival.caller.meter(arrival.dialect)
    if outcome.accepted:
        meter.accepted(outcome.accepted, size_bytes)
    if outcome.dropped:
        for reason, events in Counter(outcome.dropped.values()).items():
            meter.dropped(reason, events)
    if outcome.rejected:
        for code, events in Counter(error.code for error in outcome.rejected.values()).items():
            meter.rejected(code, events)


def _by_topic(records: list[Record]) -> dict[str, range | list[int]]:
    """The indexes of each topic's records; one range where there is one topic, which is the common case."""
    topics = {record[0] for record in records}
    if len(topics) == 1:
        return {topics.pop(): range(len(records))}
    by_topic: dict[str, range | list[int]] = {topic: [] for topic in sorted(topics)}
    for index, record in enumerate(records):
        by_topic[record[0]].append(index)  # type: ignore[union-attr]  # lists, by the line above
    return by_topic
