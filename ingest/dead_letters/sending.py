"""The replay's own producer: one a sending process, made lazily after the fork, waited for a batch at a time.

Control plane; in Celery's children, never in a web worker, so that a replay shares neither queue nor thread with live
traffic. Nothing stays queued between two calls: what is not reported in time is purged, and counts as unknown.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from django.conf import settings

from ingest import kafka
from ingest.dataplane.faults import Fault, fault_of
from ingest.dataplane.librdkafka_log import thinned_logger

log = logging.getLogger(__name__)

# While a cluster is away every sweep waits for this, and the tasks behind it.
TOPICS_TIMEOUT_S = 2.0
PURGE_S = 1.0
# Kafka may have what was reported so: only its acknowledgement is missing.
_POSSIBLY_STORED = {
    KafkaError._MSG_TIMED_OUT,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
}


class Shipment(msgspec.Struct, frozen=True):
    """A record to send. `timestamp_ms` is now: by the time of acceptance Kafka might delete it as too old, at once."""

    letter_id: int
    topic: str
    partition: int
    key: bytes
    value: bytes
    timestamp_ms: int
    headers: tuple[tuple[str, str], ...] = ()


class Report(msgspec.Struct, frozen=True):
    """What became of a shipment: where Kafka has it, or whose fault it is that it has not.

    `is_possibly_stored`: it failed, and a copy may be in Kafka all the same."""

    partition: int = -1
    offset: int = -1
    fault: Fault | None = None
    code: str = ""
    detail: str = ""
    is_possibly_stored: bool = False

    @property
    def is_delivered(self) -> bool:
        """Whether Kafka acknowledged it."""
        return self.fault is None


class Sender(Protocol):
    def partitions(self) -> Mapping[str, int] | None:
        """The topics of the cluster; None while it does not answer."""
        ...

    def send(self, shipments: Sequence[Shipment]) -> dict[int, Report]:
        """Blocks until each is reported, or for a bounded time; every shipment has its report, by letter id."""
        ...


class ReplayProducer:
    """librdkafka's producer for replays. Used by one thread."""

    def __init__(self, properties: dict[str, Any], report_timeout_s: float) -> None:
        self._properties, self._report_timeout_s = properties, report_timeout_s
        self._producer = self._made()

    def partitions(self) -> Mapping[str, int] | None:
        """As Sender has it. Blocks."""
        return cluster_topics(self._producer)

    def send(self, shipments: Sequence[Shipment]) -> dict[int, Report]:
        """As Sender has it."""
        reports: dict[int, Report] = {}
        for shipment in shipments:
            self._produce(shipment, reports)
        if self._producer.flush(self._report_timeout_s):
            self._producer.purge()
            self._producer.flush(PURGE_S)
        if any(report.code == _FATAL for report in reports.values()):
            self._producer = self._made()
        return {shipment.letter_id: reports.get(shipment.letter_id, _UNHEARD) for shipment in shipments}

    def _made(self) -> Producer:
        return Producer({**self._properties, "logger": thinned_logger(__name__)})

    def _produce(self, shipment: Shipment, reports: dict[int, Report]) -> None:
        def reported(error: KafkaError | None, message: Message) -> None:
            reports[shipment.letter_id] = _report(error, message.partition(), message.offset())

        try:
            self._producer.produce(
                shipment.topic,
                shipment.value,
                shipment.key or None,
                partition=shipment.partition,
                timestamp=shipment.timestamp_ms,
                headers=list(shipment.headers),
                on_delivery=reported,
            )
        except KafkaException as error:
            reports[shipment.letter_id] = _report(error.args[0])
        except BufferError:
            reports[shipment.letter_id] = Report(fault=Fault.CLUSTER, code="queue_full", detail="Its queue is full")


def cluster_topics(client: Producer | AdminClient) -> dict[str, int] | None:
    """Every topic and its partitions, None when the cluster does not answer. All topics are asked for: to ask for one
    would make it, on brokers that create what they are asked for."""
    try:
        listed = client.list_topics(timeout=TOPICS_TIMEOUT_S)
    except KafkaException as error:
        log.warning("the cluster does not say which topics it has: %s", error.args[0])
        return None
    return {name: len(topic.partitions) for name, topic in listed.topics.items() if topic.error is None}


def topics_of_cluster() -> dict[str, int] | None:
    """For a forecast, in a process that sends nothing."""
    return cluster_topics(AdminClient(kafka.connection(), logger=thinned_logger(__name__)))


_FATAL = KafkaError(KafkaError._FATAL).name()
_UNHEARD = Report(fault=Fault.CLUSTER, code="unreported", detail="No report came in time", is_possibly_stored=True)


def _report(error: KafkaError | None, partition: int | None = None, offset: int | None = None) -> Report:
    if error is None:
        return Report(-1 if partition is None else partition, -1 if offset is None else offset)
    code = error.code()
    return Report(
        fault=fault_of(code),
        code=error.name(),
        detail=error.str(),
        is_possibly_stored=code in _POSSIBLY_STORED,
    )


_made_by_pid: tuple[int, ReplayProducer] | None = None


def replay_producer() -> ReplayProducer:
    """This process's producer: librdkafka does not survive a fork, so a child makes its own (ADR 0006)."""
    global _made_by_pid
    if _made_by_pid is None or _made_by_pid[0] != os.getpid():
        timeout_s = settings.FOREBAY_REPLAY_REPORT_TIMEOUT_S
        properties = kafka.producer_properties() | {
            "client.id": "forebay-replay",
            # A letter that Kafka does not take now is tried again later; nothing waits for it in memory.
            "message.timeout.ms": max(1, int(timeout_s * 1000)),
            "statistics.interval.ms": 0,
        }
        _made_by_pid = (os.getpid(), ReplayProducer(properties, timeout_s))
    return _made_by_pid[1]
