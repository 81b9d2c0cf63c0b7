"""Which topics there are, as far as one can know without waiting: of the last snapshot, or of the cluster itself.

Control plane; the console and the commands, never the event path.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from django.conf import settings

from ingest.dataplane.policy import Header, TopicPolicy, UnusableTopic
from ingest.published_header import newest_header
from ingest.rules.facts import Facts
from ingest.shared_redis import shared_redis
from ingest.topics import KafkaAway, Topics
from ingest.unusable_topics import unusable_of

# A person waits for the page; a cluster that answers does so sooner.
_ANSWER_WITHIN_S = 2.0


class KnownTopics(NamedTuple):
    """`is_all` says that the cluster has no others; else these are what the builder has verified. `unusable` are those
    to which nothing would be produced, as far as their reason is known."""

    partitions: Mapping[str, int]
    is_all: bool
    unusable: Mapping[str, UnusableTopic] = MappingProxyType({})


def verified_topics() -> dict[str, TopicPolicy]:
    """Of the newest snapshot of any node, or of this one while Redis is away; empty where there is none."""
    header = _newest_header()
    return {topic.name: topic for topic in header.topics} if header else {}


def topics_for(rules: Iterable[Facts]) -> dict[str, TopicPolicy]:
    """Where these would send: what is verified, and what the cluster has that would be, as soon as they are live."""
    known = verified_topics()
    unknown = named_topics(rules) - set(known)
    if unknown:
        there = topics_of_cluster(unknown)
        usable = unknown & (set(there.partitions) - set(there.unusable))
        most_bytes = settings.FOREBAY_EVENT_MAX_BYTES
        known |= {name: TopicPolicy(name, there.partitions[name], most_bytes) for name in usable}
    return known


def topics_of_snapshot() -> KnownTopics:
    """What workers produce to right now."""
    header = _newest_header()
    if header is None:
        return KnownTopics({}, is_all=False)
    partitions = {topic.name: topic.partitions for topic in header.topics}
    return KnownTopics(partitions, is_all=False, unusable=unusable_of(header))


def topics_of_cluster(names: Collection[str]) -> KnownTopics:
    """Asks the cluster what it has and whether `names` can be used, for 2 s a question at most; the snapshot's where it
    does not answer."""
    topics = Topics(_ANSWER_WITHIN_S)
    try:
        counts = topics.partition_counts()
    except KafkaAway:
        return topics_of_snapshot()
    # Why a topic that is not in the list cannot be used, the builder has asked: an answer may take this page too long.
    unusable = {name: one for name, one in topics_of_snapshot().unusable.items() if name not in counts}
    unusable |= {one.name: one for one in topics.too_small([name for name in names if name in counts])}
    return KnownTopics(counts, is_all=True, unusable=unusable)


def named_topics(rules: Iterable[Facts]) -> set[str]:
    """Where those that are enabled send."""
    return {rule["topic"] for rule in rules if rule["enabled"] and rule["topic"]}


def _newest_header() -> Header | None:
    with shared_redis() as client:
        return newest_header(client)
