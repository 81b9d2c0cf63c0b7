"""A metadata request that shows which topics can be written to: the probe that may end OPEN early.

Used by the board's probe thread of a worker, only where FOREBAY_BREAKER_PROBE asks for it. Its client is made by the
first probe: most workers never need it.
"""

from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

ANSWER_WITHIN_S = 2.0


class BrokerProbe:
    """Called by one thread."""

    def __init__(self, connection: dict[str, Any]) -> None:
        self._connection = connection
        self._client: AdminClient | None = None

    def __call__(self) -> frozenset[str] | None:
        """Names of the topics whose partitions all have a leader; None when no broker answers. Blocks."""
        if self._client is None:
            self._client = AdminClient(self._connection)
        try:
            topics = self._client.list_topics(timeout=ANSWER_WITHIN_S).topics
        except KafkaException:
            return None
        return frozenset(name for name, topic in topics.items() if _can_be_written_to(topic))


def _can_be_written_to(topic: Any) -> bool:
    return topic.error is None and all(partition.leader >= 0 for partition in topic.partitions.values())
