"""A drain with its journal and a Kafka in memory, stepped by hand or left to its thread."""

from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError

from ingest.dataplane.flows import BACK_OFF_S
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.segments import Record
from tests.unit.dataplane.engine_world import EngineWorld
from tests.unit.dataplane.world import NOW_WALL_MS

SIZE = SETTLE_RESERVE_BYTES + 65_536
SIZES = {"segment_bytes": SIZE, "max_bytes": 4 * SIZE}
TIMED_OUT = KafkaError._MSG_TIMED_OUT


class World(EngineWorld):
    """A worker's lower half; `send` does what the pipeline does."""

    def __init__(
        self, root: Path, *, topics: tuple[str, ...] = ("logs", "audit"), segments: int = 4, **options: Any
    ) -> None:
        self.root = root
        known = {name: TopicPolicy(name, 3, 1 << 20) for name in topics}
        journal = Journal.create(root, **{**SIZES, "max_bytes": segments * SIZE})
        super().__init__(journal, known, **options)
        self.sent = 0

    def send(self, *topics: str, tenant: str = "acme") -> None:
        """One request: a record for each topic, with a number that goes up in the order of acceptance."""
        records: list[Record] = []
        for topic in topics:
            records.append((topic, 0, b"k", str(self.sent).encode(), 0))
            self.sent += 1
        wall_ms = NOW_WALL_MS + self.sent
        with self.lane_lock:
            origin = self.journal.append(tenant, wall_ms, records)
            for topic in sorted(set(topics)):
                indexes = [index for index, record in enumerate(records) if record[0] == topic]
                left, flow = list(indexes), self.flows.of(tenant, topic)
                if topic in self.topics and not flow.is_behind and self.flows.may_leave(flow, len(indexes)):
                    left = list(self.flows.hand_over(flow, origin, records, indexes, wall_ms, len(indexes)))
                if left:
                    self.flows.wait(flow, origin, left)

    def verify(self, *names: str) -> None:
        self.topics = self.topics | {name: TopicPolicy(name, 3, 1 << 20) for name in names}

    def settle(self) -> None:
        self.settlements.settle_all()

    def confirm_all(self) -> None:
        """The ledger is kept elsewhere, as a worker that publishes it would find."""
        for journal in self.drain.journals():
            journal.ledger.take_changed()
            journal.confirm(list(journal.ledger.accounts.values()))

    def deliver_everything(self) -> None:
        """Until nothing is left: as the threads would, with all the time they need."""
        for _ in range(1_000):
            self.kafka.acknowledge_all()
            self.alone.acknowledge_all()
            self.settle()
            if not self.journal.unsettled and not any(journal.unsettled for journal in self.drain.adopted):
                return
            self.pass_time(BACK_OFF_S)
            for breaker in (self.cluster, *self.breakers.values()):
                breaker.tick(alone=True)
            self.drain.visit_all()
        raise AssertionError(f"still unsettled: {self.journal.unsettled}")

    def behind(self) -> dict[tuple[str, str], int]:
        """Flows with a backlog, and how many records each has in it."""
        return {at: flow.pending for at, flow in self.flows.behind.items()}

    def stored(self, topic: str = "logs") -> list[int]:
        stored = [*self.kafka.stored, *self.alone.stored]
        return [int(value) for name, value in stored if name == topic]

    def queued(self) -> list[int]:
        """What librdkafka holds, in the order in which it came."""
        return [int(message.value()) for message, _, _ in self.kafka.queue]

    def first_of(self, topic: str) -> int | None:
        queued = [message.topic() for message, _, _ in self.kafka.queue]
        return queued.index(topic) if topic in queued else None

    def close(self) -> None:
        self.drain.close_journals()
