"""Which partition a record goes to. Data plane; pure but for one counter, called under the lane lock.

`UNASSIGNED` leaves the choice to librdkafka, whose murmur2_random partitioner agrees with the Java clients.
"""

import itertools
from collections.abc import Iterator
from enum import StrEnum

UNASSIGNED = -1
PRIORITY_PARTITION = 0
_MASK = 0xFFFFFFFF
_MULTIPLIER = 0x5BD1E995


class Partitioning(StrEnum):
    """How a rule spreads its records."""

    KEY_HASH = "key_hash"
    ROUND_ROBIN = "round_robin"
    SEVERITY_FIRST = "severity_first"


def murmur2(key: bytes) -> int:
    """The 32-bit MurmurHash2 of Kafka's Java clients (org.apache.kafka.common.utils.Utils.murmur2), as unsigned."""
    length = len(key)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _MULTIPLIER & _MASK
        k = (k ^ k >> 24) * _MULTIPLIER & _MASK
        h = h * _MULTIPLIER & _MASK ^ k
    if length > whole:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _MASK
    h = (h ^ h >> 13) * _MULTIPLIER & _MASK
    return h ^ h >> 15


def key_hash(key: bytes, partitions: int) -> int:
    """Where librdkafka and the Java clients put a record that has this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def severity_first(key: bytes, level: str, partitions: int) -> int:
    """ERROR and FATAL to the priority partition, the rest hashed over the others, if there are any."""
    if level in ("ERROR", "FATAL") or partitions == 1:
        return PRIORITY_PARTITION
    return 1 + key_hash(key, partitions - 1)


def round_robin(partitions: int) -> Iterator[int]:
    """Partitions in turn, for ever."""
    return itertools.cycle(range(partitions))
