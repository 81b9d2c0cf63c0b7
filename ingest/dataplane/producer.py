"""The one producer of a process and the thread that polls it.

Data plane (ADR 0006). Made lazily after the fork, for librdkafka does not survive one; its callbacks run on the poll
thread only, which never calls `poll()` from within one. It is given what to call between polls and knows no pipeline.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Producer

from ingest.dataplane import metrics
from ingest.dataplane.librdkafka_log import thinned_logger

log = logging.getLogger(__name__)

POLL_S = 0.02
LET_GO_S = 10.0
# The bound in bytes is the one that is meant to bind.
QUEUE_EVENTS = 1_000_000


def one_record_a_batch(config: dict[str, Any]) -> dict[str, Any]:
    """The same producer for records that must not share a batch, for one of them may be bad."""
    return {
        **config,
        "linger.ms": 0,
        "batch.num.messages": 1,
        "queue.buffering.max.messages": 1_000,
        "statistics.interval.ms": 0,
    }


def producer_config(
    *,
    connection: dict[str, Any],
    batch_size_bytes: int,
    linger_ms: int,
    compression: str,
    queue_bytes: int,
    message_timeout_ms: int,
    message_max_bytes: int,
    statistics_interval_ms: int,
) -> dict[str, Any]:
    """librdkafka's properties (its CONFIGURATION.md). Idempotent with acks=all, so redelivery makes no duplicates."""
    return {
        **connection,
        "acks": "all",
        "enable.idempotence": True,
        "batch.size": batch_size_bytes,
        "batch.num.messages": 1_000_000,
        "linger.ms": linger_ms,
        "compression.type": compression,
        "queue.buffering.max.kbytes": max(1, queue_bytes // 1024),
        "queue.buffering.max.messages": QUEUE_EVENTS,
        "message.timeout.ms": message_timeout_ms,
        "message.max.bytes": message_max_bytes,
        "retry.backoff.ms": 100,
        "retry.backoff.max.ms": 400,
        # Of a broker that is back nobody should have to wait for ten seconds, librdkafka's default.
        "reconnect.backoff.max.ms": 2_000,
        "partitioner": "murmur2_random",
        "statistics.interval.ms": statistics_interval_ms,
        "socket.keepalive.enable": True,
        # The builder verifies topics; an unknown one must fail here and not come into being.
        "allow.auto.create.topics": False,
    }


class EventProducer:
    """librdkafka's producer with its poll thread. `produce` is librdkafka's own: thread-safe, never blocks, raises
    BufferError when its queue is full; it is another one after `renew`."""

    def __init__(self, config: dict[str, Any], between_polls: Callable[[], None], *, name: str = "producer") -> None:
        self.is_distrusted = ""
        self._between_polls = between_polls
        self._queue_bytes = int(config["queue.buffering.max.kbytes"]) * 1024
        self._sent_bytes = 0
        self._last_complaint_s = float("-inf")
        self._config = {
            **config,
            "stats_cb": self._take_statistics,
            "error_cb": self._complain,
            "logger": thinned_logger(__name__),
        }
        self._begin()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll_for_ever, name=f"{name}-poll", daemon=True)

    def __len__(self) -> int:
        """Records in librdkafka's hands."""
        return len(self._producer)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def close(self, flush_timeout_s: float) -> int:
        """Send what is queued, stop the thread, report what is done, even where there is no time left. Returns how many
        records were left unsent."""
        deadline_s = time.monotonic() + flush_timeout_s
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=flush_timeout_s)
        left: int = self._producer.flush(max(0.0, deadline_s - time.monotonic()))
        self._between_polls()
        return left

    def purge_queue(self) -> None:
        """Call back what has not been sent: it is reported as purged. Any thread; does not block."""
        self._producer.purge(in_queue=True, in_flight=False, blocking=False)
        metrics.PRODUCER_PURGES.inc()

    def distrust(self, why: str) -> None:
        """This instance of librdkafka must be replaced: it is fatal, or has stalled. Any thread."""
        if not self.is_distrusted:
            log.error("librdkafka's producer is %s: it will be replaced", why)
            self.is_distrusted = why

    def renew(self) -> None:
        """Begin again with a new instance. Under the lane lock; what the old one held is the caller's to send again."""
        metrics.PRODUCER_RENEWALS.labels(self.is_distrusted or "asked").inc()
        old, self.is_distrusted = self._producer, ""
        self._begin()
        threading.Thread(target=_let_go, args=(old,), name="producer-letting-go", daemon=True).start()

    def _begin(self) -> None:
        self._producer = Producer(self._config)
        self.produce = self._producer.produce
        self._sent_bytes = 0

    def _poll_for_ever(self) -> None:
        while not self._stop.is_set():
            try:
                self._producer.poll(POLL_S)
                self._between_polls()
            except Exception:  # neither a callback nor a settlement that fails may end the reports of all others
                log.exception("a report failed; what was to be settled stays in the journal")

    def _complain(self, error: KafkaError) -> None:
        """librdkafka repeats itself while a broker is away: once in ten seconds is enough to be found."""
        if error.fatal():
            log.error("Kafka: fatal for this producer: %s (%s)", error.str(), error.name())
            self.distrust("fatal")
        if time.monotonic() - self._last_complaint_s > 10:
            self._last_complaint_s = time.monotonic()
            log.warning("Kafka: %s (%s)", error.str(), error.name())

    def _take_statistics(self, text: str) -> None:
        """librdkafka's STATISTICS.md, every statistics interval."""
        statistics = json.loads(text)
        metrics.PRODUCER_QUEUE_UTILISATION_RATIO.set(
            max(statistics["msg_size"] / self._queue_bytes, statistics["msg_cnt"] / statistics["msg_max"])
        )
        # The total falls: with a new instance, and when librdkafka drops a broker's counts with its connection.
        metrics.PRODUCER_SENT_BYTES.inc(max(0, statistics["tx_bytes"] - self._sent_bytes))
        self._sent_bytes = statistics["tx_bytes"]
        round_trips_us = [broker["rtt"]["p99"] for broker in statistics["brokers"].values() if broker["nodeid"] >= 0]
        metrics.BROKER_ROUND_TRIP_SECONDS.set(max(round_trips_us, default=0) / 1e6)
        for name, topic in statistics["topics"].items():
            metrics.PRODUCER_BATCH_BYTES.labels(name).set(topic["batchsize"]["avg"])
            metrics.PRODUCER_BATCH_EVENTS.labels(name).set(topic["batchcnt"]["avg"])


def _let_go(old: Producer) -> None:
    """What an instance still holds is reported as purged, late; then it goes. Off the poll thread, for it may hang."""
    old.purge(in_queue=True, in_flight=True, blocking=False)
    old.flush(LET_GO_S)
