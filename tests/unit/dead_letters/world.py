"""What the dead-letter tests run in: letters, a Kafka in memory that can refuse, and a clock that is moved by hand."""

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ingest.dataplane.faults import Fault
from ingest.dataplane.policy import Header, RulePolicy, TopicPolicy, dump
from ingest.dataplane.undeliverable import DeliveryAttempt, Undeliverable
from ingest.dead_letters.pacing import ReplayRate
from ingest.dead_letters.retries import RetryPolicy
from ingest.dead_letters.routes import Routes
from ingest.dead_letters.sending import Report, Shipment
from ingest.dead_letters.sweep import Replayed, Tools, dead_letters_sweep
from ingest.models import DeadLetter, LetterStatus
from tenants.quotas import TokenBucket
from tests.unit.tenants.quota_world import FakeClock, MemoryBuckets

ACCEPTED_MS = 1_795_000_000_123
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
ADA = {"by": "ada", "reason": "mended"}
JOURNAL = "5f2f2ca5-7912-4bb6-b84b-47287ac7cc87"
_numbers = itertools.count(1)


def event(event_id: str = "e-1", **fields: object) -> dict[str, object]:
    """An event as it lies in a record."""
    return {
        "source": "checkout",
        "level": "INFO",
        "message": "paid",
        "eventId": event_id,
        "timestamp": "2026-11-18T11:06:40.123Z",
        "hostname": "10.0.0.7",
        "correlationId": "order-17",
        "tenant": "acme",
        "receivedAt": "2026-11-18T11:06:40.123Z",
        "receivedBy": "node-1",
    } | fields


def letter(**fields: Any) -> DeadLetter:
    """A stored letter of Acme's that died of its topic and is due."""
    made = unsaved(**fields)
    made.save()
    return made


def letters(count: int, **fields: Any) -> None:
    """Many of them."""
    DeadLetter.objects.bulk_create(unsaved(**fields) for _ in range(count))


def unsaved(**fields: Any) -> DeadLetter:
    """A letter that is not in the table yet."""
    number = next(_numbers)
    event_id = fields.pop("event_id", f"e-{number}")
    value = json.dumps(fields.pop("event", event(event_id))).encode()
    defaults = {
        "journal": JOURNAL,
        "sequence": number,
        "tenant": "acme",
        "event_id": event_id,
        "rule_name": "default",
        "topic": "logs",
        "partition": 3,
        "key": b"checkout",
        "value": value,
        "size_bytes": len(value),
        "fault": Fault.TOPIC.value,
        "code": "TOPIC_AUTHORIZATION_FAILED",
        "accepted_at": datetime.fromtimestamp(ACCEPTED_MS / 1000, UTC),
        "dead_at": START,
        "retry_since": START,
        "next_attempt_at": START,
    }
    return DeadLetter(**(defaults | fields))


def undeliverable(sequence: int = 0, **fields: Any) -> Undeliverable:
    """A record as the data plane hands it over; only the name of its journal matters here."""
    origin = (SimpleNamespace(name=fields.pop("journal", JOURNAL)), None, 0)
    made = {
        "origin": cast(Any, origin),
        "index": sequence,
        "tenant": "acme",
        "accepted_wall_ms": ACCEPTED_MS,
        "policy_version": 7,
        "record": ("logs", 3, b"checkout", json.dumps(event(f"e-{sequence}")).encode(), 0),
        "fault": Fault.RECORD,
        "attempts": (DeliveryAttempt(ACCEPTED_MS + 5, "MSG_SIZE_TOO_LARGE", "Broker: Message size too large"),),
    }
    return Undeliverable(**cast(Any, made | fields))


class MemoryKafka:
    """Keeps what it is sent; `refusals` by topic or event id say what it refuses and why."""

    def __init__(self) -> None:
        self.topics: dict[str, int] | None = {"logs": 12, "audit": 3}
        self.stored: list[Shipment] = []
        self.refusals: dict[str, Report] = {}
        self.sends: list[int] = []

    def partitions(self) -> Mapping[str, int] | None:
        return self.topics

    def send(self, shipments: Sequence[Shipment]) -> dict[int, Report]:
        """As brokers do: one bad record takes its whole batch with it."""
        self.sends.append(len(shipments))
        refused = {one.letter_id: report for one in shipments if (report := self._refusal(one))}
        poison = next((report for report in refused.values() if report.fault is Fault.RECORD), None)
        return {one.letter_id: poison or refused.get(one.letter_id) or self._store(one) for one in shipments}

    def event_ids(self) -> list[str]:
        return [json.loads(one.value)["eventId"] for one in self.stored]

    def _refusal(self, one: Shipment) -> Report | None:
        return self.refusals.get(one.topic) or self.refusals.get(json.loads(one.value)["eventId"])

    def _store(self, one: Shipment) -> Report:
        self.stored.append(one)
        return Report(partition=max(one.partition, 0), offset=len(self.stored) - 1)


class World:
    """One sweep after the other, with time in the hands of the test."""

    def __init__(self, path: Path, *, max_per_s: int = 1_000, max_bytes_per_s: int = 0) -> None:
        self.kafka, self.clock = MemoryKafka(), FakeClock()
        self.buckets = MemoryBuckets(self.clock)
        self.snapshot_path = path / "snapshot.msgpack"
        self.policy = RetryPolicy(base_s=30.0, max_s=3600.0, max_attempts=3, max_age_s=86_400)
        self.max_per_s = max_per_s
        self.send_rate = TokenBucket(max_bytes_per_s, max_bytes_per_s, self.clock()) if max_bytes_per_s else None

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock() - 1_000.0)

    def tools(self) -> Tools:
        return Tools(
            sender=self.kafka,
            routes=Routes(self.snapshot_path),
            rate=ReplayRate(self.buckets, self.max_per_s, self.clock, self.send_rate),
            shared=self.buckets,
            policy=self.policy,
            now_s=self.clock,
            pause=self.clock.advance,
            now=self.now,
        )

    def sweep(self, budget_s: float = 3.0) -> Replayed:
        return dead_letters_sweep(tools=self.tools(), budget_s=budget_s)

    def write_rules(self, *rules: RulePolicy, topics: tuple[str, ...] = ("logs", "audit")) -> None:
        """A snapshot with these rules."""
        policies = tuple(TopicPolicy(name, 12 if name == "logs" else 3, 1 << 20) for name in topics)
        header = Header(1, 1, rules, policies, (), 0, 0)
        self.snapshot_path.write_bytes(dump(header, [], []))


def statuses() -> dict[str, int]:
    """How many letters are in each status."""
    found = list(DeadLetter.objects.values_list("status", flat=True))
    return {status: found.count(status) for status in LetterStatus.values if status in found}
