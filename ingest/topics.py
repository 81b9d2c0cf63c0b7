"""Topics as the cluster has them: verified before anything is produced to them, created where allowed (ADR 0011).

Control plane; runs in the builder process.
"""

import logging

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, though not by the stubs' rule
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from django.conf import settings

from ingest import kafka
from ingest.dataplane.librdkafka_log import thinned_logger
from ingest.dataplane.policy import TopicPolicy

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0


class KafkaAway(Exception):
    """The cluster does not answer; what was verified before holds on."""


class Topics:
    """Verifies topics with one admin client."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._admin = AdminClient(
            {**kafka.connection(), "socket.timeout.ms": int(timeout_s * 1000)}, logger=thinned_logger(__name__)
        )

    def verify(self, names: list[str], former: list[str]) -> tuple[TopicPolicy, ...]:
        """Those of `names` that exist, after creating the missing ones where settings allow it, and those of `former`
        that are still there. Raises KafkaAway."""
        counts = self.partition_counts()
        missing = [name for name in names if name not in counts]
        if missing and settings.FOREBAY_TOPIC_CREATE:
            self._create(missing)
            counts = self.partition_counts()
        sizes = self._max_message_bytes([name for name in (*names, *former) if name in counts])
        for name in sorted(set(names) - set(sizes)):
            log.warning("topic %s does not exist: its events wait in the journal until it does", name)
        return tuple(
            TopicPolicy(name, counts[name], size_bytes - kafka.RECORD_OVERHEAD_BYTES)
            for name, size_bytes in sizes.items()
            if _takes_a_batch(name, size_bytes)
        )

    def partition_counts(self) -> dict[str, int]:
        """How many partitions each topic of the cluster has. Raises KafkaAway."""
        try:
            metadata = self._admin.list_topics(timeout=self._timeout_s)
        except KafkaException as error:
            raise KafkaAway(str(error.args[0])) from error
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    def _create(self, names: list[str]) -> None:
        topics = [
            NewTopic(
                name,
                num_partitions=settings.FOREBAY_TOPIC_PARTITIONS,
                replication_factor=settings.FOREBAY_TOPIC_REPLICATION_FACTOR,
                config={
                    "min.insync.replicas": str(settings.FOREBAY_TOPIC_MIN_INSYNC_REPLICAS),
                    "max.message.bytes": str(kafka.message_max_bytes()),
                },
            )
            for name in names
        ]
        for name, future in self._admin.create_topics(topics, request_timeout=self._timeout_s).items():
            try:
                future.result()
                log.info("topic %s created with %d partitions", name, settings.FOREBAY_TOPIC_PARTITIONS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    log.warning("topic %s cannot be created: %s", name, error.args[0].str())

    def _max_message_bytes(self, names: list[str]) -> dict[str, int]:
        """Each topic's own limit; ours where it cannot be read."""
        sizes = {name: kafka.message_max_bytes() for name in names}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return sizes
        for resource, future in self._admin.describe_configs(resources, request_timeout=self._timeout_s).items():
            try:
                sizes[resource.name] = int(future.result()["max.message.bytes"].value)
            except (KafkaException, KeyError) as error:
                log.warning("topic %s: its max.message.bytes cannot be read: %s", resource.name, error)
        return sizes


def _takes_a_batch(name: str, max_message_bytes: int) -> bool:
    """A topic that refuses a full batch would refuse events that are small enough, so nothing is produced to it."""
    if max_message_bytes < settings.FOREBAY_PRODUCER_BATCH_SIZE_BYTES:
        log.error(
            "topic %s takes %d bytes at a time, a batch has up to %d: its events wait in the journal until its"
            " max.message.bytes is raised or FOREBAY_PRODUCER_BATCH_SIZE_BYTES is lowered",
            name,
            max_message_bytes,
            settings.FOREBAY_PRODUCER_BATCH_SIZE_BYTES,
        )
        return False
    if max_message_bytes < kafka.message_max_bytes():
        log.warning("topic %s takes %d bytes at a time: larger events are refused", name, max_message_bytes)
    return True
