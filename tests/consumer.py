"""An independent consumer: what Kafka holds, read with confluent-kafka alone and none of Forebay's code."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

_POLL_S = 0.2
_BATCH = 10_000
_METADATA_TIMEOUT_S = 10


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]
    timestamp_ms: int


Enough = Callable[[list[Record]], bool]


def create_topic(bootstrap: str, topic: str, *, partitions: int = 3, config: dict[str, str] | None = None) -> None:
    """Returns when the broker has it."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    asked = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
    admin.create_topics([asked])[topic].result(_METADATA_TIMEOUT_S)


def read_records(bootstrap: str, topic: str, *, until: int | Enough, deadline_s: float = 30.0) -> list[Record]:
    """All partitions from their beginning, in the order of arrival, until there are `until` records or it says enough.

    Returns what there is at the deadline, so that the test's own assertion tells what is missing. It may return more
    than asked for: a duplicate must show.
    """
    enough = until if callable(until) else _at_least(until)
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "forebay-tests", "enable.auto.commit": False, "log_level": 3}
    )
    try:
        give_up_s = time.monotonic() + deadline_s
        consumer.assign(_from_the_beginning(consumer, topic, give_up_s))
        records: list[Record] = []
        while not enough(records) and time.monotonic() < give_up_s:
            records += [_record(message) for message in consumer.consume(_BATCH, _POLL_S) if message.error() is None]
        return records
    finally:
        consumer.close()


def read_all(bootstrap: str, topic: str, *, deadline_s: float = 30.0) -> list[Record]:
    """Everything up to the partitions' ends as they were at the call: for 'nothing more arrived'."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "forebay-tests", "enable.auto.commit": False})
    try:
        partitions = _from_the_beginning(consumer, topic, time.monotonic() + deadline_s)
        marks = [consumer.get_watermark_offsets(partition, timeout=_METADATA_TIMEOUT_S) for partition in partitions]
    finally:
        consumer.close()
    count = sum(high - low for low, high in marks)
    return read_records(bootstrap, topic, until=count, deadline_s=deadline_s)


def event_id(record: Record) -> str:
    """By which Forebay's events are told apart."""
    return str(json.loads(record.value)["eventId"])


def all_of(names: Iterable[str], name_of: Callable[[Record], str] = event_id, *, but: int = 0) -> Enough:
    """Enough is when each of these is there, or all but so many. Each record is asked for its name once."""
    missing, seen = set(names), 0

    def enough(records: list[Record]) -> bool:
        nonlocal seen
        missing.difference_update(map(name_of, records[seen:]))
        seen = len(records)
        return len(missing) <= but

    return enough


def _at_least(count: int) -> Enough:
    return lambda records: len(records) >= count


def _from_the_beginning(consumer: Consumer, topic: str, give_up_s: float) -> list[TopicPartition]:
    """Waits for the topic: a node may create it only with its first event."""
    while True:
        partitions = consumer.list_topics(topic, timeout=_METADATA_TIMEOUT_S).topics[topic].partitions
        if partitions:
            return [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions]
        assert time.monotonic() < give_up_s, f"there is no topic {topic}"
        time.sleep(_POLL_S)


def _record(message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    headers = {name: _as_bytes(value) for name, value in dict(message.headers() or {}).items()}
    key = message.key()
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        key=None if key is None else _as_bytes(key),
        value=_as_bytes(message.value()),
        headers=headers,
        timestamp_ms=message.timestamp()[1],
    )


def _as_bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
