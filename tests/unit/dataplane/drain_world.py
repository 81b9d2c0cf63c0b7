"""A drain with its journal and a Kafka in memory, stepped by hand or left to its thread."""

import threading
from collections import deque
from pathlib import Path
from typing import cast

from confluent_kafka import KafkaError

from ingest.dataplane.delivery import InFlight, Settlements
from ingest.dataplane.drain import BACK_OFF_S, Drain
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import PENDING, Record
from tests.unit.dataplane.world import NOW_WALL_MS, MemoryKafka
from tests.unit.tenants.quota_world import FakeClock

SIZE = SETTLE_RESERVE_BYTES + 65_536
SIZES = {"segment_bytes": SIZE, "max_bytes": 4 * SIZE}
TIMED_OUT = KafkaError._MSG_TIMED_OUT


class World:
    """A worker's journal, drain and settlements around a Kafka in memory; `send` does what the pipeline does."""

    def __init__(self, root: Path, *, topics: tuple[str, ...] = ("logs", "audit"), room: int = 1_000_000) -> None:
        self.root = root
        self.journal = Journal.create(root, **SIZES)
        self.kafka = MemoryKafka(room)
        self.clock = FakeClock()
        self.lane_lock = threading.Lock()
        self.topics = {name: TopicPolicy(name, 3, 1 << 20) for name in topics}
        self.settlements = Settlements(lambda in_flight, indexes: self.drain.release(in_flight, indexes))
        producer = cast(EventProducer, self.kafka)
        completed: deque[InFlight] = self.settlements.completed
        self.drain = Drain(self.lane_lock, producer, completed, lambda: self.topics, self.journal, self.clock)
        self.sent = 0

    def send(self, *topics: str, tenant: str = "acme") -> None:
        """One request: a record for each topic, with a number that goes up in the order of acceptance."""
        records: list[Record] = []
        for topic in topics:
            records.append((topic, 0, b"k", str(self.sent).encode()))
            self.sent += 1
        with self.lane_lock:
            segment, at, sequence = self.journal.append(tenant, NOW_WALL_MS + self.sent, records)
            for topic in sorted(set(topics)):
                indexes = [index for index, record in enumerate(records) if record[0] == topic]
                left = indexes
                if topic in self.topics and (tenant, topic) not in self.drain.behind:
                    place = (self.journal, segment, at, sequence)
                    in_flight = InFlight(self.settlements.completed, place, tenant, topic, indexes)
                    left = list(in_flight.produce(self.kafka.produce, records, NOW_WALL_MS + self.sent))
                if left:
                    self.journal.mark(segment, at, sequence, left, PENDING)
                    self.drain.behind[tenant, topic] += len(left)

    def verify(self, *names: str) -> None:
        self.topics = self.topics | {name: TopicPolicy(name, 3, 1 << 20) for name in names}

    def settle(self) -> None:
        self.settlements.settle_all()

    def deliver_everything(self) -> None:
        """Until nothing is left: as the threads would, with all the time they need."""
        for _ in range(1_000):
            self.kafka.acknowledge_all()
            self.settle()
            if not self.journal.unsettled and not any(journal.unsettled for journal in self.drain.adopted):
                return
            self.clock.advance(BACK_OFF_S)
            self.drain.visit_all()
        raise AssertionError(f"still unsettled: {self.journal.unsettled}")

    def stored(self, topic: str = "logs") -> list[int]:
        return [int(value) for name, value in self.kafka.stored if name == topic]

    def first_of(self, topic: str) -> int | None:
        queued = [message.topic() for message, _, _ in self.kafka.queue]
        return queued.index(topic) if topic in queued else None

    def close(self) -> None:
        self.drain.close_journals()
