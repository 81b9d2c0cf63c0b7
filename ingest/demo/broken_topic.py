"""Control plane: a topic that takes less than Forebay was told when it verified the topic: large events become dead
letters, as they do where somebody changes a topic under a running platform. Kafka only: the demo broker does not answer
administrative calls.
"""

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, though not by the stubs' rule
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from django.conf import settings

from forebay.local.addresses import kafka_bootstrap
from ingest import kafka
from ingest.dataplane.policy import SnapshotFormatError, read_header

TOO_SMALL_BYTES = 2_000
TIMEOUT_S = 10.0
_VERIFIED_WITHIN_S = 30.0


class NotPossible(Exception):
    """Why the topic stays as it is."""


class BrokenTopic:
    """One topic of the running platform's Kafka."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._admin = AdminClient({**kafka.connection(), "bootstrap.servers": kafka_bootstrap()})

    def mend(self) -> None:
        """Give it the size back that Forebay made it with; nothing happens to a topic that is not there yet. Raises
        NotPossible."""
        if self._topic in self._topics():
            self._set_max_message_bytes(kafka.message_max_bytes())

    def spoil(self) -> None:
        """Take it away, once the workers' snapshot has the topic: Forebay produces to verified topics only. Blocks for
        up to half a minute. Raises NotPossible."""
        deadline_s = time.monotonic() + _VERIFIED_WITHIN_S
        while not self._is_verified():
            if time.monotonic() > deadline_s:
                raise NotPossible(f"topic {self._topic} was not verified within {_VERIFIED_WITHIN_S:.0f} s")
            time.sleep(0.25)
        self._set_max_message_bytes(TOO_SMALL_BYTES)

    def _is_verified(self) -> bool:
        try:
            header = read_header(settings.FOREBAY_SNAPSHOT_FILE.read_bytes())
        except (OSError, SnapshotFormatError):
            return False
        return any(topic.name == self._topic for topic in header.topics)

    def _topics(self) -> set[str]:
        try:
            return set(self._admin.list_topics(timeout=TIMEOUT_S).topics)
        except KafkaException as error:
            raise NotPossible(f"Kafka does not answer: {error.args[0].str()}") from error

    def _set_max_message_bytes(self, size_bytes: int) -> None:
        entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self._topic, incremental_configs=[entry])
        try:
            for future in self._admin.incremental_alter_configs([resource], request_timeout=TIMEOUT_S).values():
                future.result(TIMEOUT_S)
        except KafkaException as error:
            reason = error.args[0].str()
            raise NotPossible(f"this broker does not let anybody change its topics ({reason})") from error
