"""Control plane: reads the records of one topic for a person or a script, and leaves no trace in Kafka.

Partitions are assigned, not subscribed to: no group is joined, no offset is committed, and no topic comes into being
because somebody asked for it. One thread.
"""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingest import kafka

METADATA_TIMEOUT_S = 5.0
POLL_S = 0.5


class CannotRead(Exception):
    """The text is one line that says why."""


class Reader:
    """The records of a topic, all partitions. Close it."""

    def __init__(
        self, bootstrap: str, topic: str, *, from_end: bool = False, metadata_timeout_s: float = METADATA_TIMEOUT_S
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._is_away = False
        self._consumer = Consumer(
            kafka.connection()
            | {
                "bootstrap.servers": bootstrap,
                "group.id": "forebay-reader",  # asked for by the library; never joined
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 2,  # what matters arrives through error_cb; the rest would disturb the terminal
                "error_cb": self._note_error,
            }
        )
        partitions = self._partitions(metadata_timeout_s)
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_END if from_end else OFFSET_BEGINNING) for number in partitions]
        )
        self._unfinished = set(partitions)

    def records(self, *, follow: bool) -> Iterator[Message]:
        """Up to the present end of every partition, or for ever. Raises CannotRead when Kafka goes away meanwhile."""
        while follow or self._unfinished:
            message = self._consumer.poll(POLL_S)
            if message is None:
                self._check(follow)
            elif (error := message.error()) is None:
                self._is_away = False
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                self._unfinished.discard(message.partition())
            else:
                raise CannotRead(f"Kafka at {self._bootstrap}: {error.str()}")

    def close(self) -> None:
        self._consumer.close()

    def _partitions(self, timeout_s: float) -> list[int]:
        # All topics, not this one: metadata asked for by name makes some clusters create the topic.
        try:
            topics = self._consumer.list_topics(timeout=timeout_s).topics
        except KafkaException as error:
            raise CannotRead(f"Kafka does not answer at {self._bootstrap}: {error.args[0].str()}") from error
        if self._topic not in topics:
            known = ", ".join(sorted(name for name in topics if not name.startswith("__")))
            raise CannotRead(f"there is no topic {self._topic} at {self._bootstrap}; topics: {known or 'none yet'}")
        return list(topics[self._topic].partitions)

    def _note_error(self, error: KafkaError) -> None:
        self._is_away = self._is_away or error.code() == KafkaError._ALL_BROKERS_DOWN

    def _check(self, follow: bool) -> None:
        # Whoever follows waits for Kafka to come back, as librdkafka does.
        if self._is_away and not follow:
            raise CannotRead(f"Kafka at {self._bootstrap} went away")


def as_text(message: Message) -> str:
    """One line for a terminal; what could steer the terminal is escaped."""
    headers = " ".join(f"{name}={_text(value)}" for name, value in _headers(message))
    place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
    line = f"{place}  {_time(message)}  key={_text(message.key())}  {{{headers}}}  {_text(message.value())}"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


def as_json(message: Message) -> str:
    """One JSON object; what is not UTF-8 is base64 under a name that says so."""
    record = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": _time(message),
        **_json_bytes("key", message.key()),
        "headers": [_json_bytes("value", value) | {"name": name} for name, value in _headers(message)],
        **_json_bytes("value", message.value()),
    }
    return json.dumps(record, ensure_ascii=False)


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    # The stubs also name the forms that produce() takes; a consumed message has only this one.
    return cast("list[tuple[str, bytes | None]]", message.headers() or [])


def _json_bytes(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(value or b"").decode()}


def _text(value: bytes | None) -> str:
    return "-" if value is None else value.decode(errors="backslashreplace")


def _time(message: Message) -> str | None:
    _, timestamp_ms = message.timestamp()
    if timestamp_ms < 0:
        return None
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
