"""Which topics there are, as far as one can know without waiting: of the last snapshot, or of the cluster itself.

Control plane; the console and the commands, never the event path.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import redis
from django.conf import settings

from ingest.builder import PUBLISHED
from ingest.dataplane.policy import Header, SnapshotFormatError, TopicPolicy, read_header
from ingest.rules.facts import Facts
from ingest.shared_redis import shared_redis
from ingest.topics import KafkaAway, Topics

# A person waits for the page; a cluster that answers does so sooner.
_ANSWER_WITHIN_S = 2.0


class KnownTopics(NamedTuple):
    """`is_all` says that the cluster has no others; else these are what the builder has verified."""

    partitions: Mapping[str, int]
    is_all: bool


def verified_topics() -> dict[str, TopicPolicy]:
    """Of the newest snapshot of this node, or of any node's; empty where there is neither."""
    header = _header_of_file() or _header_of_redis()
    return {topic.name: topic for topic in header.topics} if header else {}


def topics_for(rules: Iterable[Facts]) -> dict[str, TopicPolicy]:
    """Where these would send: what is verified, and what the cluster has that would be, as soon as they are live."""
    known = verified_topics()
    unknown = {rule["topic"] for rule in rules if rule["enabled"] and rule["topic"]} - set(known)
    if unknown:
        there = topics_of_cluster().partitions
        most_bytes = settings.FOREBAY_EVENT_MAX_BYTES
        known |= {name: TopicPolicy(name, there[name], most_bytes) for name in unknown if name in there}
    return known


def topics_of_snapshot() -> KnownTopics:
    """What workers produce to right now."""
    return KnownTopics({name: topic.partitions for name, topic in verified_topics().items()}, is_all=False)


def topics_of_cluster() -> KnownTopics:
    """Asks the cluster, for 2 s at most; the snapshot's where it does not answer."""
    try:
        return KnownTopics(Topics(_ANSWER_WITHIN_S).partition_counts(), is_all=True)
    except KafkaAway:
        return topics_of_snapshot()


def _header_of_file() -> Header | None:
    try:
        return read_header(settings.FOREBAY_SNAPSHOT_FILE.read_bytes())
    except (OSError, SnapshotFormatError):
        return None


def _header_of_redis() -> Header | None:
    try:
        with shared_redis() as client:
            blob: bytes | None = client.get(PUBLISHED)  # type: ignore[assignment]  # bytes, as nothing is decoded
        return read_header(blob) if blob else None
    except (redis.RedisError, SnapshotFormatError):
        return None
