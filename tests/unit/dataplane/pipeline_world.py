"""A pipeline with its journal, quotas and a Kafka in memory, for tests that follow a request through it."""

import json
import threading
from collections import deque
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from ingest.dataplane.acks import AckBudget
from ingest.dataplane.callers import Callers
from ingest.dataplane.delivery import InFlight, Settlements
from ingest.dataplane.drain import Drain
from ingest.dataplane.errors import Refused
from ingest.dataplane.event import decode_many, decode_one
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.partitioning import severity_first
from ingest.dataplane.pipeline import Arrival, Pipeline
from ingest.dataplane.policy import RulePolicy, TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.recent import RecentEvents
from tenants import api_keys
from tenants.leases import Allowance
from tenants.quotas import Quota, What
from tests.unit.dataplane.world import (
    ACME_KEY,
    BOLT_KEY,
    DEFAULTS,
    LIMITS,
    TOPIC,
    MemoryKafka,
    key,
    snapshot,
    tenant,
)
from tests.unit.tenants.quota_world import FakeClock, MemoryBuckets, open_book

GOOD = {"source": "checkout", "level": "INFO", "message": "paid"}
PARTITION = severity_first(b"checkout", "INFO", TOPIC.partitions)
BOLTS = Quota(events_per_s=10, burst_events=5, bytes_per_s=1_000, burst_bytes=2_000)


class World:
    """One worker's pipeline: real journal, quotas and rules; Kafka and the shared buckets in memory."""

    def __init__(self, root: Path, *rules: RulePolicy, room: int = 1_000_000, journal_bytes: int = 60_000) -> None:
        size = SETTLE_RESERVE_BYTES + journal_bytes
        self.journal = Journal.create(root, segment_bytes=size, max_bytes=size)
        self.kafka = MemoryKafka(room)
        self.clock = FakeClock()
        self.buckets = MemoryBuckets(self.clock)
        self.book = open_book(self.buckets, self.clock)
        self.topics = {"logs": TOPIC, "small": TopicPolicy("small", 3, event_max_bytes=600)}
        acme, bolt = tenant("acme"), tenant("bolt", quota=BOLTS)
        self.callers = Callers(
            snapshot([acme, bolt], [key(ACME_KEY, "acme", 1), key(BOLT_KEY, "bolt", 2)], rules=rules), DEFAULTS
        )
        self.lane_lock = threading.Lock()
        self.settlements = Settlements(lambda in_flight, indexes: self.drain.release(in_flight, indexes))
        completed: deque[InFlight] = self.settlements.completed
        producer = cast(EventProducer, self.kafka)
        self.drain = Drain(self.lane_lock, producer, completed, lambda: self.topics, self.journal, self.clock)
        self.ack_budget = AckBudget(threads=4)
        self.recent = RecentEvents()
        self.pipeline = Pipeline(
            LIMITS, self.journal, self.drain, self.kafka.produce, completed, self.ack_budget, self.recent, "node-1"
        )

    def allowance(self, text: str = ACME_KEY) -> Allowance:
        caller = self.callers.find(api_keys.digest(text))
        assert caller is not None
        return self.book.allowance(caller.tenant.name, caller.tenant.quota, str(caller.key.key_id), caller.key.quota)

    def accept(self, sent: object, text: str = ACME_KEY, *, delivery: str = "", topics: Any = None) -> Outcome:
        """Takes in a list as a batch, anything else as a single event."""
        caller = self.callers.find(api_keys.digest(text))
        assert caller is not None
        verified = self.topics if topics is None else topics
        arrival = Arrival(caller, self.allowance(text), verified, "native", "192.0.2.7", "c-1", delivery)
        body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        with self.lane_lock:
            return self.pipeline.accept(decode_many if body[:1] == b"[" else decode_one, body, arrival)

    def refusal(self, sent: object, text: str = ACME_KEY) -> Refused:
        with pytest.raises(Refused) as raised:
            self.accept(sent, text)
        return raised.value

    def spent(self, what: What, text: str = BOLT_KEY) -> float:
        return sum(lease.spent for lease in self.allowance(text).leases if lease.limit.what is what)

    def journaled(self) -> list[tuple[str, int, bytes, dict[str, Any]]]:
        """Every record in the journal, read from its file."""
        found = []
        for segment in self.journal._segments:
            for _, _, entry in segment.entries(8, segment.size_bytes):
                found += [(t, p, k, json.loads(v)) for t, p, k, v in getattr(entry, "records", [])]
        return found


def rejected_total(reason: str) -> float:
    labels = {"tenant": "_other", "reason": reason}
    return REGISTRY.get_sample_value("forebay_events_rejected_total", labels) or 0.0


# --- what is taken in ------------------------------------------------------------------------------------------------
