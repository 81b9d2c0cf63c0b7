"""The ceiling: a loop that does nothing but produce a constant payload with the shipped producer settings.

A process of its own (a Companion): told a number of seconds, it produces for so long, waits for the last delivery
report, and tells how many there were and what they cost. One thread; librdkafka's own beside it.
"""

import resource
import time
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from django.conf import settings

from bench.payloads import SOURCES, events
from bench.processes import answer_lines
from bench.rows import SMALL_BYTES
from ingest import kafka

BETWEEN_POLLS_EVENTS = 500
FLUSH_S = 60.0


class RawLoop:
    """Counts delivery reports, as the least that anybody does with them."""

    def __init__(self) -> None:
        self._delivered = 0
        self._failed = 0
        self._value = events(1, SMALL_BYTES)[0]
        # Statistics would only wake a thread that nobody reads.
        self._producer = Producer(kafka.producer_properties() | {"statistics.interval.ms": 0})

    def run(self, seconds: str) -> dict[str, Any]:
        self._delivered = self._failed = 0
        begun_s, begun_cpu_s = time.monotonic(), _cpu_s()
        self._produce_until(begun_s + float(seconds))
        self._producer.flush(FLUSH_S)
        return {
            "delivered": self._delivered,
            "failed": self._failed + len(self._producer),
            "wall_s": time.monotonic() - begun_s,
            "cpu_s": _cpu_s() - begun_cpu_s,
            "resident_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        }

    def _produce_until(self, deadline_s: float) -> None:
        produce, poll, report, value = self._producer.produce, self._producer.poll, self._report, self._value
        keys = [source.encode() for source in SOURCES]
        topic, each_key = settings.FOREBAY_TOPIC_DEFAULT, range(BETWEEN_POLLS_EVENTS // len(keys))
        while time.monotonic() < deadline_s:
            for _ in each_key:
                for key in keys:
                    try:
                        produce(topic, value, key, -1, report)
                    except BufferError:
                        poll(0.01)
            poll(0)

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._delivered += 1
        else:
            self._failed += 1


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    answer_lines(RawLoop().run)
