"""How many records Kafka holds, asked of Kafka: what the server says of itself is not what a benchmark counts.

Main thread of the benchmark.
"""

import time
from typing import Final

from confluent_kafka import Consumer, TopicPartition

TIMEOUT_S: Final = 10.0
# Two looks this far apart that find the same: nothing is on its way any more. Over twice the producer's linger.
STILL_S: Final = 0.06
PATIENCE_S: Final = 30.0


class TopicEnd:
    """The sum of the ends of all partitions: it grows by one with each record."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "forebay-bench"})
        partitions = self._consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        self._partitions = [TopicPartition(topic, number) for number in partitions]

    def now(self) -> int:
        return sum(self._consumer.get_watermark_offsets(one, timeout=TIMEOUT_S)[1] for one in self._partitions)

    def when_still(self, at_least: int = 0) -> int:
        """Blocks until the end has reached `at_least` and stays; less is returned where that takes too long."""
        give_up_s = time.monotonic() + PATIENCE_S
        before, end = -1, self.now()
        while (end < at_least or end != before) and time.monotonic() < give_up_s:
            time.sleep(STILL_S)
            before, end = end, self.now()
        return end

    def close(self) -> None:
        self._consumer.close()
