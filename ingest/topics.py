"""Topics as the cluster has them: verified before anything is produced to them, created where allowed (ADR 0011).

Control plane; runs in the builder process.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, though not by the stubs' rule
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from django.conf import settings

from ingest import kafka
from ingest.dataplane.librdkafka_log import thinned_logger
from ingest.dataplane.policy import TopicPolicy, UnusableTopic
from ingest.unusable_topics import Reason, in_words

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
_REASONS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: Reason.ABSENT,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Reason.FORBIDDEN,
}


class KafkaAway(Exception):
    """The cluster does not answer; what was verified before holds on."""


class Verified(NamedTuple):
    """What may be produced to, and of what else was asked why it may not."""

    topics: tuple[TopicPolicy, ...] = ()
    unusable: tuple[UnusableTopic, ...] = ()


class Topics:
    """Verifies topics with one admin client."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._admin = AdminClient(
            {**kafka.connection(), "socket.timeout.ms": int(timeout_s * 1000)}, logger=thinned_logger(__name__)
        )

    def verify(self, names: list[str], former: list[str]) -> Verified:
        """Those of `names` that exist, after creating the missing ones where settings allow it, and those of `former`
        that are still there; and why each of the others cannot be used. Raises KafkaAway."""
        counts = self.partition_counts()
        missing = [name for name in names if name not in counts]
        created: set[str] = set()
        if missing and settings.FOREBAY_TOPIC_CREATE:
            created = self._create(missing)
            counts = self.partition_counts()
        sizes = self._max_message_bytes([name for name in (*names, *former) if name in counts])
        # What has just been created is in the list within moments, and is asked about again: there is nothing to tell.
        told = [name for name in (*names, *former) if name in sizes or name not in created]
        unusable = tuple(self._unusable(told, sizes))
        for one in unusable:
            if one.name in names:
                log.warning("topic %s cannot be used, its events wait in the journal: %s", one.name, in_words(one))
        refused = {one.name for one in unusable}
        return Verified(
            tuple(
                TopicPolicy(name, counts[name], size_bytes - kafka.RECORD_OVERHEAD_BYTES)
                for name, size_bytes in sizes.items()
                if name not in refused
            ),
            unusable,
        )

    def too_small(self, names: list[str]) -> list[UnusableTopic]:
        """Those of `names`, which the cluster has, that take less than a batch."""
        return list(self._unusable(names, self._max_message_bytes(names)))

    def partition_counts(self) -> dict[str, int]:
        """How many partitions each topic of the cluster has. Raises KafkaAway."""
        try:
            metadata = self._admin.list_topics(timeout=self._timeout_s)
        except KafkaException as error:
            raise KafkaAway(str(error.args[0])) from error
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    def _unusable(self, names: Collection[str], sizes: Mapping[str, int]) -> Iterator[UnusableTopic]:
        """Of `names`, those of which no size is known or which take less than a full batch: these would refuse events
        that are small enough."""
        batch_bytes = settings.FOREBAY_PRODUCER_BATCH_SIZE_BYTES
        absent = [name for name in names if name not in sizes]
        yield from self._why_absent(absent) if absent else ()
        for name, size_bytes in sizes.items():
            if size_bytes < batch_bytes:
                yield UnusableTopic(name, Reason.TOO_SMALL, takes_bytes=size_bytes, batch_bytes=batch_bytes)
            elif size_bytes < kafka.message_max_bytes():
                log.warning("topic %s takes %d bytes at a time: larger events are refused", name, size_bytes)

    def _why_absent(self, names: Sequence[str]) -> Iterator[UnusableTopic]:
        """A list of all topics leaves out those that may not be described: only who asks by name is told."""
        asked = self._admin.describe_topics(TopicCollection(list(names)), request_timeout=self._timeout_s)
        for name, future in asked.items():
            try:
                future.result()
            except KafkaException as error:
                code, text = error.args[0].code(), error.args[0].str()
                # Codes below 0 are librdkafka's own: nobody has answered this, so that the list is all there is.
                reason = _REASONS.get(code, Reason.ABSENT if code < 0 else Reason.NOT_READY)
                yield UnusableTopic(name, reason, text if reason is Reason.NOT_READY else "")
            else:
                yield UnusableTopic(name, Reason.NOT_READY, "it has appeared just now")

    def _create(self, names: list[str]) -> set[str]:
        """Those that were."""
        created = set()
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
                created.add(name)
                log.info("topic %s created with %d partitions", name, settings.FOREBAY_TOPIC_PARTITIONS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    log.warning("topic %s cannot be created: %s", name, error.args[0].str())
        return created

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
