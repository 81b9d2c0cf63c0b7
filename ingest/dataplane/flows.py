"""Which (tenant, topic) may send now, and which waits: backlogs, parked topics, breakers, room in the producer's queue.

Data plane. The lane and the drain both ask here, under the lane lock, and hand over what may leave. A flow with a
backlog is *behind*: the lane only appends its new events and the drain alone produces them, so nothing overtakes.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import KafkaError

from ingest.dataplane.acks import Acknowledgements
from ingest.dataplane.breaker import Breaker, State, take_trials
from ingest.dataplane.flow import Flow, Line, Parked, Trial, Waiting
from ingest.dataplane.in_flight import InFlight
from ingest.dataplane.journal import Journal, Origin
from ingest.dataplane.policy import OverridePolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import PENDING, Record
from tenants.quotas import TokenBucket

# A topic whose records have just come back is left alone for this long.
BACK_OFF_S = 1.0


class Flows:
    """All flows of a worker. `behind` holds those with a backlog, in the order in which the drain turns to them."""

    def __init__(
        self,
        own: Journal,
        producer: EventProducer,
        completed: "deque[InFlight]",
        *,
        cluster: Breaker,
        breaker_of: Callable[[str], Breaker],
        topic_in_flight_bytes: int,
        send_rate: TokenBucket | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behind: dict[tuple[str, str], Flow] = {}
        self.lines: dict[str, Line] = {}
        self.cluster = cluster
        self.own = own
        self._producer = producer
        self._completed = completed
        self._breaker_of = breaker_of
        self._topic_in_flight_bytes = topic_in_flight_bytes
        self._send_rate = send_rate
        self._now_s = now_s
        self.ended_trials: deque[tuple[Trial, KafkaError | None]] = deque()
        self._flows: dict[tuple[str, str], Flow] = {}
        self._obeyed: dict[tuple[str, str], int] = {}

    def of(self, tenant: str, topic: str) -> Flow:
        """The flow of a tenant and topic, made when it is first met."""
        flow = self._flows.get((tenant, topic))
        if flow is None:
            line = self.lines.get(topic)
            if line is None:
                line = self.lines[topic] = Line(topic, self._breaker_of(topic))
            flow = self._flows[tenant, topic] = Flow(tenant, line)
        return flow

    def may_leave(self, flow: Flow, size_bytes: int) -> bool:
        """Whether so much of a flow may be produced now. A yes may have used up a trial of a breaker."""
        line = flow.line
        if flow.parked is not None:
            return False
        in_flight_bytes = line.in_flight_bytes
        if in_flight_bytes and in_flight_bytes + size_bytes > self._topic_in_flight_bytes:
            return False
        if not (self.cluster.allows_direct and line.breaker.allows_direct):
            return self._may_try(flow, size_bytes)
        return self._send_rate is None or self._may_send(self._send_rate, size_bytes)

    def offers(self, flow: Flow) -> bool:
        """Whether the breakers would let one call through; a wish for a trial is noted. Any thread."""
        if flow.line.trial_epoch == self.cluster.epoch:
            return False
        offers = [breaker.offers_trial() for breaker in (self.cluster, flow.line.breaker)]
        return all(offers)

    def answers(self, flow: Flow) -> bool:
        """Whether a sender may wait for what Kafka says: while a breaker is not closed there is nothing to wait for."""
        return self.cluster.allows_direct and flow.line.breaker.allows_direct

    def trial(self, line: Line) -> Trial | None:
        """What a call that leaves now without a journal is to bring back to `ended_trials`, with the error if any."""
        if self.cluster.allows_direct and line.breaker.allows_direct:
            return None
        return Trial(line, self.cluster.epoch, line.breaker.epoch)

    @property
    def produce(self) -> Callable[..., None]:
        """librdkafka's own; another one after the producer is renewed."""
        return self._producer.produce

    def hand_over(
        self,
        flow: Flow,
        origin: Origin,
        records: Sequence[Record | None],
        indexes: Sequence[int],
        accepted_wall_ms: int,
        size_bytes: int,
        acknowledgements: Acknowledgements | None = None,
        alone: EventProducer | None = None,
    ) -> Sequence[int]:
        """Produce records of a flow that may leave; returns those that librdkafka's queue had no room for. `alone` is
        the producer of those that must not share a batch."""
        epoch, now_s = self.cluster.epoch, self._now_s()
        in_flight = InFlight(self._completed, origin, flow, indexes, size_bytes, epoch, now_s, acknowledgements, alone)
        flow.handed += 1
        flow.line.handed_bytes += size_bytes
        flow.line.outstanding.append(in_flight)
        # Not `alone or`: an empty producer has no length.
        producer = self._producer if alone is None else alone
        return in_flight.produce(producer.produce, records, accepted_wall_ms)

    def wait(self, flow: Flow, origin: Origin, indexes: Sequence[int]) -> None:
        """Newly accepted records that cannot leave now: the drain takes them, and the flow is behind."""
        journal, segment, sequence = origin
        journal.mark(segment, sequence, indexes, PENDING)
        self._waiting_of(flow, journal).append(sequence)
        flow.pending += len(indexes)

    def put_back(self, flow: Flow, origin: Origin, indexes: Sequence[int]) -> None:
        """Records that were handed over and wait again. They go before all that came after them."""
        journal, segment, sequence = origin
        journal.mark(segment, sequence, indexes, PENDING)
        self._waiting_of(flow, journal).put_back(sequence)
        flow.pending += len(indexes)

    def come_back(self, flow: Flow, origin: Origin, indexes: Sequence[int], *, is_purged: bool) -> None:
        """Records that Kafka did not take: nothing of the flow may follow them before all of it has been reported.
        What we called back ourselves may leave again at once."""
        self.put_back(flow, origin, indexes)
        flow.must_settle = True
        if not is_purged:
            flow.not_before_s = self._now_s() + BACK_OFF_S

    def call_back(self) -> None:
        """What is queued will be called back: nothing of a flow may follow before all that is in flight has been
        reported, for what was called back is known to be so only then."""
        for at, flow in self._flows.items():
            if flow.handed != flow.done:
                flow.is_behind = flow.must_settle = True
                self.behind[at] = flow

    def park(self, flow: Flow, parked: Parked) -> None:
        """The flow waits for an operator."""
        if flow.parked is None:
            flow.parked = parked

    def obey(self, overrides: Iterable[OverridePolicy]) -> None:
        """Operators' words about single flows, each once: what was parked before one was said is resumed by it."""
        for word in overrides:
            at = (word.tenant, word.topic)
            if not word.tenant or self._obeyed.get(at, 0) >= word.number:
                continue
            self._obeyed[at] = word.number
            flow = self.of(*at)
            is_parked = word.kind == "PARKED"
            flow.parked = Parked("PARKED", f"{word.by}: {word.reason}", word.at_wall_ms) if is_parked else None
            flow.not_before_s = 0.0

    @property
    def utilisation_ratio(self) -> float:
        """How full the producer's queue is, by the bytes handed over and not reported. Any thread: inexact."""
        lines = tuple(self.lines.values())
        return sum(line.in_flight_bytes for line in lines) / (4 * self._topic_in_flight_bytes)

    def parked(self) -> list[Flow]:
        """All flows that wait for an operator. Any thread: a copy."""
        return [flow for flow in tuple(self._flows.values()) if flow.parked is not None]

    def caught_up(self, flow: Flow) -> None:
        """Nothing of it waits any more, so the lane produces its events again."""
        flow.is_behind, flow.must_settle, flow.pending = False, False, 0
        self.behind.pop((flow.tenant, flow.topic), None)

    def _may_try(self, flow: Flow, size_bytes: int) -> bool:
        """A topic has one trial of the cluster's out at a time, and goes to the end of the line: one that cannot be
        written to must not have them all, time and again."""
        cluster, line = self.cluster, flow.line
        if State.HALF_OPEN not in (cluster.state, line.breaker.state):
            return False
        # Asked first, for what a breaker keeps back must use up none of the send rate.
        if not self.offers(flow):
            return False
        if self._send_rate is not None and not self._may_send(self._send_rate, size_bytes):
            return False
        if not take_trials(cluster, line.breaker):
            return False
        if cluster.state is State.HALF_OPEN:
            line.trial_epoch = cluster.epoch
            if flow.is_behind:
                self.behind[flow.tenant, flow.topic] = self.behind.pop((flow.tenant, flow.topic))
        return True

    def _waiting_of(self, flow: Flow, journal: Journal) -> Waiting:
        flow.is_behind = True
        self.behind[flow.tenant, flow.topic] = flow
        for waiting in flow.waiting:
            if waiting.journal is journal:
                return waiting
        made = Waiting(journal)
        # What is adopted is older than what this worker accepts.
        flow.waiting.append(made) if journal is self.own else flow.waiting.insert(0, made)
        return made

    def _may_send(self, rate: TokenBucket, size_bytes: int) -> bool:
        """Something larger than the whole bucket leaves when that is full, and is owed."""
        now_s, want = self._now_s(), min(float(size_bytes), rate.capacity)
        granted = rate.take(want, now_s)
        if granted < want:
            rate.take(-granted, now_s)
            return False
        rate.take(size_bytes - want, now_s, owed=size_bytes - want)
        return True
