"""Why a topic cannot be used, and what to do about it, in words; and whose backlog does not leave. Control plane, pure.

The builder finds the reasons (`ingest.topics`), the snapshot's header carries them to the console and to the alerts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from ingest.dataplane.policy import Header, UnusableTopic
from ingest.heartbeats import breaker_name
from ingest.journal_reports import FlowReport

_MINUTE_S = 60


class Reason(StrEnum):
    """Of `UnusableTopic`."""

    ABSENT = "absent"
    FORBIDDEN = "forbidden"
    TOO_SMALL = "too_small"
    NOT_READY = "not_ready"


_WHAT_TO_DO: dict[str, str] = {
    Reason.ABSENT: "Create it, or correct the rule that names it.",
    Reason.FORBIDDEN: "Allow Forebay's principal to describe and write it.",
    Reason.TOO_SMALL: "Raise its max.message.bytes, or lower FOREBAY_PRODUCER_BATCH_SIZE_BYTES on all nodes.",
    Reason.NOT_READY: "Look at its partitions and their leaders.",
}


class Stuck(NamedTuple):
    """A topic whose events wait though nobody has parked them and no breaker holds them: why it cannot be used, or
    None where it can and the oldest has waited too long."""

    topic: str
    events: int
    oldest_minute: int | None
    unusable: UnusableTopic | None


def unusable_of(header: Header | None) -> dict[str, UnusableTopic]:
    """By name; nothing is known without a header."""
    return {topic.name: topic for topic in header.unusable} if header else {}


def in_words(topic: UnusableTopic) -> str:
    """Part of a sentence about the topic."""
    match topic.reason:
        case Reason.ABSENT:
            return "the cluster does not have it"
        case Reason.FORBIDDEN:
            return "Forebay may not describe it"
        case Reason.TOO_SMALL:
            return f"it takes {topic.takes_bytes:,} bytes at a time, and a batch has up to {topic.batch_bytes:,}"
    return f"Kafka says of it: {topic.detail}"


def what_to_do(topic: UnusableTopic) -> str:
    """A sentence."""
    return _WHAT_TO_DO.get(topic.reason, _WHAT_TO_DO[Reason.NOT_READY])


def is_overdue(oldest_minute: int | None, wall_s: float, overdue_s: float) -> bool:
    """Whether what was accepted within that minute has surely waited for longer than that."""
    return oldest_minute is not None and wall_s - (oldest_minute + 1) * _MINUTE_S > overdue_s


def stuck_topics(
    flows: Iterable[FlowReport],
    unusable: Mapping[str, UnusableTopic],
    held: Collection[str],
    wall_s: float,
    overdue_s: float,
) -> list[Stuck]:
    """Of what the workers tell of their backlogs. `held` names the breakers (`breaker_name`) that are not closed. Those
    that cannot be used first, then by how much waits."""
    by_topic: dict[str, list[FlowReport]] = defaultdict(list)
    for flow in flows:
        if not flow.parked:
            by_topic[flow.topic].append(flow)
    rows = [_together(topic, told, unusable.get(topic)) for topic, told in by_topic.items()]
    found = [
        row
        for row in rows
        if row.unusable or (is_overdue(row.oldest_minute, wall_s, overdue_s) and not _is_held(row, held))
    ]
    return sorted(found, key=lambda row: (row.unusable is None, -row.events, row.topic))


def _together(topic: str, told: Collection[FlowReport], unusable: UnusableTopic | None) -> Stuck:
    minutes = [flow.oldest_minute for flow in told if flow.oldest_minute is not None]
    return Stuck(topic, sum(flow.events for flow in told), min(minutes, default=None), unusable)


def _is_held(row: Stuck, held: Collection[str]) -> bool:
    return breaker_name("") in held or breaker_name(row.topic) in held
