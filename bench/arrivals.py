"""The far end of a POST: a consumer that knows of each record when it was due, and notes when it came.

A process of its own (a Companion). It reads from the topic's end at its start; told how many measured events were
sent, it waits for the last of them and answers. A thread consumes, the main thread listens.
"""

import threading
import time
from array import array
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, TopicPartition
from django.conf import settings

from bench.latency import percentiles_ms
from bench.processes import answer_lines
from ingest import kafka

POLL_S: Final = 0.1
# After the last event was sent; what has not come by then is reported as missing.
PATIENCE_S: Final = 20.0


class Sent(msgspec.Struct, rename="camel"):
    """What the client put into an event for us: when it was due, ns since the epoch; 0 for one that does not count."""

    correlation_id: str


class Arrivals:
    """Seconds from due to consumed, of every event that counts."""

    def __init__(self) -> None:
        self._latencies_s = array("d")
        self._over = threading.Event()
        self._consumer = Consumer(kafka.connection() | {"group.id": "forebay-bench", "enable.auto.commit": False})
        self._consumer.assign(self._ends())
        # The first fetches connect and wait: the events that count should not pay for that.
        self._consumer.poll(1.0)
        self._thread = threading.Thread(target=self._consume, name="arrivals", daemon=True)
        self._thread.start()

    def answer(self, expected_events: str) -> dict[str, Any]:
        expected, give_up_s = int(expected_events), time.monotonic() + PATIENCE_S
        while len(self._latencies_s) < expected and time.monotonic() < give_up_s:
            time.sleep(POLL_S)
        self._over.set()
        self._thread.join()
        return {"events": len(self._latencies_s), "latency_ms": percentiles_ms(self._latencies_s)}

    def _ends(self) -> list[TopicPartition]:
        topic = settings.FOREBAY_TOPIC_DEFAULT
        found = [
            TopicPartition(topic, number) for number in self._consumer.list_topics(topic, 10).topics[topic].partitions
        ]
        for partition in found:
            partition.offset = self._consumer.get_watermark_offsets(partition, timeout=10)[1]
        return found

    def _consume(self) -> None:
        decode = msgspec.json.Decoder(Sent).decode
        while not self._over.is_set():
            message = self._consumer.poll(POLL_S)
            if message is None or message.error() is not None:
                continue
            due_wall_ns = int(decode(message.value() or b"").correlation_id)
            if due_wall_ns:
                self._latencies_s.append((time.time_ns() - due_wall_ns) / 1e9)
        self._consumer.close()


if __name__ == "__main__":
    answer_lines(Arrivals().answer)
