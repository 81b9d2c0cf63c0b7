"""Journal, flows, settlements, suspects and drain around a Kafka in memory: the lower half of a worker, by hand."""

import threading
from collections import deque
from typing import cast

from ingest.dataplane.acks import Acknowledgements
from ingest.dataplane.breaker import Breaker, BreakerLimits
from ingest.dataplane.drain import Drain
from ingest.dataplane.flow import Flow
from ingest.dataplane.flows import Flows
from ingest.dataplane.in_flight import InFlight
from ingest.dataplane.journal import Journal, Origin
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import Accept
from ingest.dataplane.settlements import Settlements
from ingest.dataplane.suspects import Suspects
from ingest.dataplane.undeliverable import Undeliverable
from tenants.quotas import TokenBucket
from tests.unit.dataplane.world import NOW_WALL_MS, MemoryKafka
from tests.unit.tenants.quota_world import FakeClock

STALLED_S = 150.0
MAX_AGE_S = 3_600.0
IN_FLIGHT_BYTES = 1 << 20


class EngineWorld:
    """Stepped by hand: `kafka` reports, `settlements` settle, `drain.visit_all` drains. `alone` is the second producer,
    for records that must not share a batch; `letters` is what has been offered as undeliverable."""

    def __init__(
        self,
        journal: Journal,
        topics: dict[str, TopicPolicy],
        *,
        room: int = 1_000_000,
        in_flight_bytes: int = IN_FLIGHT_BYTES,
        send_rate: TokenBucket | None = None,
        cluster: Breaker | None = None,
    ) -> None:
        self.journal = journal
        self.topics = topics
        self.kafka, self.alone = MemoryKafka(room), MemoryKafka(room)
        self.clock = FakeClock()
        self.wall_s = NOW_WALL_MS / 1000
        self.lane_lock = threading.Lock()
        self.limits = BreakerLimits()
        self.cluster = cluster or Breaker("", self.limits, self.clock)
        self.breakers: dict[str, Breaker] = {}
        self.letters: list[Undeliverable] = []
        self.takes_letters = True
        self.completed: deque[InFlight] = deque()
        producer = cast(EventProducer, self.kafka)
        self.flows = Flows(
            journal,
            producer,
            self.completed,
            cluster=self.cluster,
            breaker_of=self.breaker,
            topic_in_flight_bytes=in_flight_bytes,
            send_rate=send_rate,
            now_s=self.clock,
        )
        self.suspects = Suspects(self._try_alone, self._offer, self.clock)
        self.drain = Drain(
            self.lane_lock,
            self.flows,
            self.suspects,
            lambda: self.topics,
            max_age_s=MAX_AGE_S,
            now_s=self.clock,
            wall_s=lambda: self.wall_s,
        )
        self.settlements = Settlements(
            self.completed,
            self.lane_lock,
            self.flows,
            self.suspects,
            lambda: [producer, cast(EventProducer, self.alone)],
            self.drain.journals,
            stalled_s=STALLED_S,
            now_s=self.clock,
        )

    def breaker(self, topic: str) -> Breaker:
        return self.breakers.setdefault(topic, Breaker(topic, self.limits, self.clock))

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.wall_s += seconds

    def _try_alone(
        self, flow: Flow, origin: Origin, accept: Accept, index: int, waits_for: Acknowledgements | None
    ) -> bool:
        with self.lane_lock:
            alone = cast(EventProducer, self.alone)
            wall_ms = accept.accepted_wall_ms
            return not self.flows.hand_over(flow, origin, accept.records, [index], wall_ms, 1, waits_for, alone)

    def _offer(self, letter: Undeliverable) -> bool:
        if self.takes_letters:
            self.letters.append(letter)
        return self.takes_letters
