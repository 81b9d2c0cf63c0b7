"""The path of an event, top to bottom: the one screen that the rest of the data plane hangs from.

Data plane. `accept` runs under the lane lock, one request at a time in a process; it never blocks but for the journal's
write, and touches neither database, Redis nor log. docs/event-path.md tells the same story to a reader.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from ingest.dataplane.acks import AckBudget, Acknowledgements
from ingest.dataplane.callers import Caller
from ingest.dataplane.errors import BadRequest, EventRejected, Refused, TooLarge, Unavailable, quota_refused
from ingest.dataplane.event import (
    Decoded,
    EventLimits,
    Stamp,
    check_size,
    complete,
    encode,
    event_ids,
    rfc3339,
)
from ingest.dataplane.flow import Line
from ingest.dataplane.flows import Flows
from ingest.dataplane.journal import Journal, Origin
from ingest.dataplane.ledger import MINUTE_MS, Account
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.recent import RecentEvents
from ingest.dataplane.routing import Delivery
from ingest.dataplane.segments import Record
from ingest.dataplane.unjournaled import Unjournaled
from tenants.leases import Allowance

# Compared with every event's delivery; a member of an enumeration takes longer to look up than to compare.
_ACK, _FORGET = Delivery.ACK.value, Delivery.FIRE_AND_FORGET.value

Decode = Callable[[bytes, int], Decoded]
"""A protocol's bytes to events; the number is how many a request may hold. Raises BadRequest."""


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """What the pipeline must know of a request beside its body. `delivery` is the request's own choice, if any;
    `duplicates` the eventIds that came before, None where nobody looked. A sender that `waits` keeps what is refused as
    a whole and offers it again by itself: only what becomes of it in the end is counted."""

    caller: Caller
    allowance: Allowance
    topics: dict[str, TopicPolicy]
    dialect: str
    peer_address: str
    correlation_id: str
    delivery: str
    duplicates: frozenset[str] | None = None
    waits: bool = False


class Pipeline:
    """One per process."""

    def __init__(
        self,
        limits: EventLimits,
        journal: Journal,
        flows: Flows,
        ack_budget: AckBudget,
        recent: RecentEvents,
        received_by: str,
    ) -> None:
        self._limits = limits
        self._journal = journal
        self._flows = flows
        self._ack_budget = ack_budget
        self._recent = recent
        self._received_by = received_by

    def accept(self, decode: Decode, body: bytes, arrival: Arrival) -> Outcome:
        """Take a request's events in: after this they are in the journal, or the sender is told which are not and why.

        `body` is the decompressed body. Under the lane lock. Raises Refused; then nothing of the request was accepted.
        Where the outcome has something to wait for, the caller owes the ack budget a `give_back`.
        """
        caller, limits = arrival.caller, self._limits
        decoded = self._decode(decode, body, arrival)
        events, indexes, rejected = decoded
        received = len(events) + len(rejected)
        if received > limits.request_max_events:
            detail = f"At most {limits.request_max_events} events go in one request; split it"
            raise self._counted(arrival, received, TooLarge("too_many_events", detail))
        refusal = arrival.allowance.charge(received, len(body))
        if refusal is not None:
            raise self._counted(arrival, received, quota_refused(refusal, caller.tenant.name))

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
        forgotten: dict[int, Record] = {}
        dropped: dict[int, str] = {}
        seen = None if arrival.duplicates is None else set(arrival.duplicates)
        surely_fits_bytes, add = limits.surely_fits_bytes, records.append
        chosen = arrival.delivery
        wants_ack = chosen == _ACK
        for index, event in zip(indexes, events, strict=True):
            try:
                complete(event, stamp, limits)
                topic, partition, key, delivery, drop_reason, rule = remembered.get(
                    (event.source, event.level)
                ) or route(event)
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
            if seen is not None:
                if event.event_id in seen:
                    dropped[index] = "duplicate"
                    continue
                seen.add(str(event.event_id))
            wanted = chosen or delivery
            if wanted == _FORGET:
                forgotten[index] = (topic, partition, key, value, rule)
                continue
            add((topic, partition, key, value, rule))
            if wanted == _ACK:
                wants_ack = True

        outcome = Outcome(received_at, decoded, received - len(rejected), rejected, dropped, wants_ack)
        if wants_ack:
            outcome.record_indexes = [i for i in indexes if not (i in rejected or i in dropped or i in forgotten)]
        try:
            origin = self._keep(arrival, received_wall_ms, records, outcome)
        except Unavailable as unavailable:
            arrival.allowance.give_back(received, len(body))
            raise self._counted(arrival, received, unavailable) from None
        try:
            if origin is not None and records:
                self._produce(arrival, received_wall_ms, origin, records, outcome)
            if forgotten:
                self._produce_unjournaled(arrival, received_wall_ms, list(forgotten.values()))
            if records or forgotten:
                sample = records[-1] if records else next(iter(forgotten.values()))
                self._recent.add(caller.tenant.name, sample[3], len(records) + len(forgotten))
        except BaseException:  # a defect of ours: nobody will wait any more
            if outcome.waits_for is not None:
                self._ack_budget.give_back(caller.tenant.name)
            raise
        return outcome

    def _decode(self, decode: Decode, body: bytes, arrival: Arrival) -> Decoded:
        """A body that cannot be taken apart costs its sender what one event does."""
        try:
            return decode(body, self._limits.request_max_events)
        except BadRequest as refused:
            arrival.allowance.charge(1, len(body))
            raise self._counted(arrival, 1, refused) from None

    def _keep(self, arrival: Arrival, received_wall_ms: int, records: list[Record], outcome: Outcome) -> Origin | None:
        """One append for the whole request. What has only rejections in it is counted, and takes no room."""
        tenant = arrival.caller.tenant.name
        rejections = Counter(error.code for error in outcome.rejected.values()) if outcome.rejected else {}
        if not records and not outcome.dropped:
            self._count_rejected(tenant, received_wall_ms, rejections)
            return None
        origin = self._journal.append(
            tenant,
            received_wall_ms,
            records,
            policy_version=arrival.caller.policy_version,
            rejections=rejections,
            dropped=Counter(outcome.dropped.values()) if outcome.dropped else {},
        )
        outcome.written = self._journal.appended
        return origin

    def _produce(
        self,
        arrival: Arrival,
        received_wall_ms: int,
        origin: Origin,
        records: list[Record],
        outcome: Outcome,
    ) -> None:
        """Each topic's records are handed over, or wait for the drain."""
        tenant, flows, topics = arrival.caller.tenant.name, self._flows, arrival.topics
        record_bytes = origin[1].sizes_bytes[-1]
        by_topic = _by_topic(records)
        leaving = []
        for topic, indexes in by_topic.items():
            flow = flows.of(tenant, topic)
            size_bytes = record_bytes * len(indexes)
            leaves = topic in topics and not flow.is_behind and flows.may_leave(flow, size_bytes)
            leaving.append((flow, indexes, size_bytes, leaves))
        answers = outcome.wanted_ack and all(leaves and flows.answers(flow) for flow, _, _, leaves in leaving)
        if answers and self._ack_budget.take(tenant):
            outcome.waits_for = Acknowledgements(len(records))
        for flow, indexes, size_bytes, leaves in leaving:
            left: Sequence[int] = indexes
            if leaves:
                waits_for = outcome.waits_for
                left = flows.hand_over(flow, origin, records, indexes, received_wall_ms, size_bytes, waits_for)
            if left:
                flows.wait(flow, origin, left)

    def _produce_unjournaled(self, arrival: Arrival, received_wall_ms: int, records: list[Record]) -> None:
        tenant, flows = arrival.caller.tenant.name, self._flows

        def leaving(topic: str, size_bytes: int) -> Line | None:
            flow = flows.of(tenant, topic)
            return flow.line if topic in arrival.topics and flows.may_leave(flow, size_bytes) else None

        meter = arrival.caller.meter(arrival.dialect)
        Unjournaled(flows, self._journal, meter, tenant, received_wall_ms).produce(records, received_wall_ms, leaving)

    def _counted(self, arrival: Arrival, events: int, refused: Refused) -> Refused:
        """The refusal of a whole request: all of its events are rejected for its reason."""
        if arrival.waits:
            return refused
        arrival.caller.meter(arrival.dialect).rejected(refused.code, events)
        self._count_rejected(arrival.caller.tenant.name, time.time_ns() // 1_000_000, {refused.code: events})
        return refused

    def _count_rejected(self, tenant: str, wall_ms: int, rejections: dict[str, int]) -> None:
        if rejections:
            minute, received = wall_ms // MINUTE_MS, sum(rejections.values())
            self._journal.count(Account(tenant, minute, received=received, rejections=dict(rejections)))


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
    if len(records) == 1:
        return {records[0][0]: range(1)}
    topics = {record[0] for record in records}
    if len(topics) == 1:
        return {topics.pop(): range(len(records))}
    by_topic: dict[str, range | list[int]] = {topic: [] for topic in sorted(topics)}
    for index, record in enumerate(records):
        by_topic[record[0]].append(index)  # type: ignore[union-attr]  # lists, by the line above
    return by_topic
