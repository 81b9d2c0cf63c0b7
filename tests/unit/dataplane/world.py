"""What the tests of the event path run in: the cast, limits that are easy to reach, and a Kafka in memory."""

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from ingest.dataplane.event import EventLimits, LogEvent, Stamp, complete, rfc3339
from ingest.dataplane.partitioning import Partitioning
from ingest.dataplane.policy import Header, KeyPolicy, RulePolicy, Snapshot, TenantPolicy, TopicPolicy
from ingest.dataplane.routing import Defaults
from ingest.dataplane.segments import Record
from tenants import api_keys
from tenants.quotas import Quota

NOW_WALL_MS = 1_790_000_000_123  # 2026-09-21T14:13:20.123Z
LIMITS = EventLimits(
    event_max_bytes=4_096,
    surely_fits_bytes=2_048,
    request_max_events=10,
    metadata_max_entries=3,
    timestamp_max_age_s=7 * 86_400,
    timestamp_max_ahead_s=600,
)
MADE_ID = "01a0c4a0-a57b-7000-8000-000000000000"
TOPIC = TopicPolicy("logs", partitions=12, event_max_bytes=1 << 20)
DEFAULTS = Defaults(topic="logs", topic_partitions=12, errors_wait_for_ack=False)
ACME_KEY = "fb_acme0000_" + "a" * 43
BOLT_KEY = "fb_bolt0000_" + "b" * 43
CRUX_KEY = "fb_crux0000_" + "c" * 43


def stamp(tenant: str = "acme") -> Stamp:
    return Stamp(
        tenant=tenant,
        peer_address="192.0.2.7",
        correlation_id="c-1",
        received_by="node-1",
        received_wall_ms=NOW_WALL_MS,
        received_at=rfc3339(NOW_WALL_MS),
        new_id=lambda: MADE_ID,
    )


def event(**fields: Any) -> LogEvent:
    return LogEvent(**({"source": "checkout", "level": "INFO", "message": "paid"} | fields))


def completed(**fields: Any) -> LogEvent:
    made = event(**fields)
    complete(made, stamp(), LIMITS)
    return made


def rule(topic: str = "logs", **changes: Any) -> RulePolicy:
    fields: dict[str, Any] = {
        "name": "r",
        "tenants": (),
        "source_glob": "",
        "levels": (),
        "metadata_field": "",
        "metadata_glob": "",
        "topic": topic,
        "partitioning": Partitioning.KEY_HASH,
        "key": ("source",),
        "delivery": "",
        "keep_ratio": 1.0,
        "drop_reason": "",
    }
    return RulePolicy(**(fields | changes))


def tenant(name: str, **changes: Any) -> TenantPolicy:
    fields: dict[str, Any] = {"name": name, "active": True, "delivery": "async", "quota": Quota()}
    return TenantPolicy(**(fields | changes))


def key(text: str, tenant_name: str, key_id: int, **changes: Any) -> KeyPolicy:
    fields: dict[str, Any] = {
        "digest": api_keys.digest(text),
        "key_id": key_id,
        "tenant": tenant_name,
        "scopes": frozenset({"ingest", "read"}),
        "expires_wall_s": None,
        "revoked": False,
        "allowed_networks": (),
        "quota": Quota(),
    }
    return KeyPolicy(**(fields | changes))


def header(version: int, tenants: Sequence[object], keys: Sequence[object], **changes: Any) -> Header:
    fields: dict[str, Any] = {
        "version": version,
        "built_wall_ms": NOW_WALL_MS,
        "rules": (),
        "topics": (TOPIC,),
        "labelled_tenants": (),
        "tenants": len(tenants),
        "keys": len(keys),
    }
    return Header(**(fields | changes))


def snapshot(
    tenants: Sequence[TenantPolicy], keys: Sequence[KeyPolicy], *, version: int = 1, **changes: Any
) -> Snapshot:
    head = header(version, tenants, keys, **changes)
    return Snapshot(
        head,
        {made.name: made for made in tenants},
        {made.digest: made for made in keys},
        {topic.name: topic for topic in head.topics},
    )


def records(count: int, topic: str = "logs", start: int = 0) -> list[Record]:
    """Each with a value of its own."""
    return [(topic, -1, b"k", f"value-{start + at}".encode(), 0) for at in range(count)]


class Message:
    """A delivery report's message: what Kafka would tell of a record."""

    def __init__(self, topic: str, value: bytes, partition: int, offset: int) -> None:
        self._topic, self._value, self._partition, self._offset = topic, value, partition, offset

    def topic(self) -> str:
        return self._topic

    def value(self) -> bytes:
        return self._value

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset


Report = Callable[[KafkaError | None, Any], None]


class MemoryKafka:
    """librdkafka's queue and the cluster behind it: takes records while there is room, reports when the test says so.

    `produce` has the signature of confluent_kafka's; `refused` maps a value to the error that produce() raises for it.
    """

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.queue: list[tuple[Message, bytes | None, Report]] = []
        self.stored: list[tuple[str, bytes]] = []
        self.keys: list[bytes | None] = []
        self.partitions: list[int] = []
        self.timestamps: list[int] = []
        self.refused: dict[bytes, int] = {}
        self.before_produce: Callable[[], None] = lambda: None
        self.is_distrusted = ""
        self.renewals = 0

    def produce(
        self, topic: str, value: bytes, key: bytes | None, partition: int, report: Report, timestamp: int
    ) -> None:
        self.before_produce()
        if value in self.refused:
            raise KafkaException(KafkaError(self.refused[value]))
        if len(self.queue) >= self.room:
            raise BufferError("Local: Queue full")
        message = Message(topic, value, max(partition, 0), len(self.stored) + len(self.queue))
        self.queue.append((message, key, report))
        self.keys.append(key)
        self.partitions.append(partition)
        self.timestamps.append(timestamp)

    def acknowledge(self, at: int = 0) -> None:
        """The record at a place of the queue is stored."""
        message, _, report = self.queue.pop(at)
        self.stored.append((message.topic(), message.value()))
        report(None, message)

    def acknowledge_all(self) -> None:
        while self.queue:
            self.acknowledge()

    def fail(self, code: int, at: int = 0) -> None:
        """The record at a place of the queue cannot be delivered."""
        message, _, report = self.queue.pop(at)
        report(KafkaError(code), message)

    def purge_queue(self) -> None:
        """All that is queued is reported as purged."""
        while self.queue:
            self.fail(KafkaError._PURGE_QUEUE)

    def distrust(self, why: str) -> None:
        self.is_distrusted = why

    def renew(self) -> None:
        """A new instance; what the old one held stays in the queue for the test to report late."""
        self.is_distrusted = ""
        self.renewals += 1

    def values(self) -> list[bytes]:
        """What is stored, in the order it was."""
        return [value for _, value in self.stored]
