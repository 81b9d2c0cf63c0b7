"""A pipeline with its journal, quotas and a Kafka in memory, for tests that follow a request through it."""

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ingest.dataplane.acks import AckBudget
from ingest.dataplane.callers import Callers
from ingest.dataplane.errors import Refused
from ingest.dataplane.event import decode_many, decode_one
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.ledger import Account
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.partitioning import severity_first
from ingest.dataplane.pipeline import Arrival, Pipeline
from ingest.dataplane.policy import RulePolicy, TopicPolicy
from ingest.dataplane.recent import RecentEvents
from ingest.dataplane.segments import Accept
from tenants import api_keys
from tenants.leases import Allowance
from tenants.quotas import Quota, What
from tests.unit.dataplane.engine_world import EngineWorld
from tests.unit.dataplane.world import (
    ACME_KEY,
    BOLT_KEY,
    DEFAULTS,
    LIMITS,
    TOPIC,
    key,
    snapshot,
    tenant,
)
from tests.unit.tenants.quota_world import MemoryBuckets, open_book

GOOD = {"source": "checkout", "level": "INFO", "message": "paid"}
CHECKPOINT_BYTES = 64
RULES_VERSION = 7
PARTITION = severity_first(b"checkout", "INFO", TOPIC.partitions)
BOLTS = Quota(events_per_s=10, burst_events=5, bytes_per_s=1_000, burst_bytes=2_000)


class World(EngineWorld):
    """One worker's pipeline: real journal, quotas and rules; Kafka and the shared buckets in memory."""

    def __init__(
        self,
        root: Path,
        *rules: RulePolicy,
        room: int = 1_000_000,
        journal_bytes: int = 60_000,
        **options: Any,
    ) -> None:
        size = SETTLE_RESERVE_BYTES + journal_bytes
        journal = Journal.create(root, segment_bytes=size, max_bytes=size + CHECKPOINT_BYTES)
        topics = {"logs": TOPIC, "small": TopicPolicy("small", 3, event_max_bytes=600)}
        super().__init__(journal, topics, room=room, **options)
        self.buckets = MemoryBuckets(self.clock)
        self.book = open_book(self.buckets, self.clock)
        acme, bolt = tenant("acme"), tenant("bolt", quota=BOLTS)
        keys = [key(ACME_KEY, "acme", 1), key(BOLT_KEY, "bolt", 2)]
        self.callers = Callers(snapshot([acme, bolt], keys, rules=rules, rules_version=RULES_VERSION), DEFAULTS)
        self.ack_budget = AckBudget(threads=4)
        self.recent = RecentEvents()
        self.pipeline = Pipeline(LIMITS, journal, self.flows, self.ack_budget, self.recent, "node-1")

    def allowance(self, text: str = ACME_KEY) -> Allowance:
        caller = self.callers.find(api_keys.digest(text))
        assert caller is not None
        return self.book.allowance(caller.tenant.name, caller.tenant.quota, str(caller.key.key_id), caller.key.quota)

    def accept(
        self,
        sent: object,
        text: str = ACME_KEY,
        *,
        delivery: str = "",
        topics: Any = None,
        duplicates: frozenset[str] | None = None,
    ) -> Outcome:
        """Takes in a list as a batch, anything else as a single event."""
        caller = self.callers.find(api_keys.digest(text))
        assert caller is not None
        verified = self.topics if topics is None else topics
        arrival = Arrival(caller, self.allowance(text), verified, "native", "192.0.2.7", "c-1", delivery, duplicates)
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
        records = [record for accept in self.accepts() for record in accept.records if record is not None]
        return [(topic, partition, key, json.loads(value)) for topic, partition, key, value, _ in records]

    def accepts(self) -> list[Accept]:
        """Every ACCEPT in the journal, read from its file."""
        entries = [entry for one in self.journal._segments for _, _, entry in one.entries(one.size_bytes)]
        return [entry for entry in entries if isinstance(entry, Accept)]

    def totals(self, tenant_name: str = "acme") -> Account:
        """What the ledger says of a tenant, with what is not written yet."""
        self.journal.write_counts()
        total = Account(tenant_name, 0)
        for account in self.journal.ledger.accounts.values():
            if account.tenant == tenant_name:
                total.add(account)
        return total


def rejected_total(reason: str) -> float:
    labels = {"tenant": "_other", "reason": reason}
    return REGISTRY.get_sample_value("forebay_events_rejected_total", labels) or 0.0


# --- what is taken in ------------------------------------------------------------------------------------------------
