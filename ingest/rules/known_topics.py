"""Which topics there are, as far as one can know without waiting: of the last snapshot, or of the cluster itself.

Control plane; the console and the commands, never the event path.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.conf import settings

from ingest.console.topics_known import newest_header
from ingest.dataplane.policy import TopicPolicy
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
    """Of the newest snapshot of any node, or of this one while Redis is away; empty where there is none."""
    with shared_redis() as client:
        header = newest_header(client)
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
