"""How a node catches up after an outage: what came in, what Kafka holds, where the breaker stands."""

import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.faults.traffic import Client, Traffic

_EVERY_S = 0.05
_ASKS_FOR_S = 1.0


class Sample(NamedTuple):
    at_s: float
    accepted_events: int
    stored_records: int
    pending_events: int
    cluster: str


class Progress:
    """Samples from when the `with` block is entered until it is left."""

    def __init__(self, port: int, traffic: Traffic, bootstrap: str, topic: str) -> None:
        self.samples: list[Sample] = []
        self._port, self._traffic, self._topic = port, traffic, topic
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "forebay-tests", "log_level": 3})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_for_ever, name="progress")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    @property
    def tried_s(self) -> float:
        """When the breaker of the cluster was first seen to let something through."""
        return next(sample.at_s for sample in self.samples if sample.cluster in ("HALF_OPEN", "CLOSED"))

    def drained_s(self, more_than: int) -> float:
        """When Kafka first held more new records than those of the trials may be."""
        began = self.samples[0].stored_records
        return next(sample.at_s for sample in self.samples if sample.stored_records - began > more_than)

    def catching_up(self, since_s: float) -> tuple[int, int, float]:
        """Deliveries and arrivals from then until nothing was pending, and the seconds between."""
        during = [sample for sample in self.samples if sample.at_s >= since_s]
        last = next((at for at, sample in enumerate(during) if not sample.pending_events), len(during) - 1)
        first, end = during[0], during[max(1, last)]
        deliveries = end.stored_records - first.stored_records
        return deliveries, end.accepted_events - first.accepted_events, end.at_s - first.at_s

    def _sample_for_ever(self) -> None:
        with Client(self._port, "") as client:
            while not self._stop.wait(_EVERY_S):
                body, stored = client.get("/api/logs/health").body, self._stored_records()
                if stored is not None:
                    accepted, pending = self._traffic.accepted_events, body["journal_pending_events"]
                    state = body["breakers"][0]["state"]
                    self.samples.append(Sample(time.monotonic(), accepted, stored, pending, state))

    def _stored_records(self) -> int | None:
        try:
            known = self._consumer.list_topics(self._topic, timeout=_ASKS_FOR_S).topics[self._topic].partitions
            ends = [
                self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_ASKS_FOR_S)
                for partition in known
            ]
        except KafkaException:  # the broker is not quite back
            return None
        return sum(high for _, high in ends)
