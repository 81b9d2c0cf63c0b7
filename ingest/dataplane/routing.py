"""Rules compiled once per snapshot: which topic, partition, key and delivery an event gets, or why it is dropped.

Data plane; one TenantRouter per tenant and snapshot, used under the lane lock. The answer for a (source, level) pair is
remembered where nothing else decides it, which is the common case; the rest is worked out per event.
"""

import fnmatch
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ingest.dataplane.event import LogEvent
from ingest.dataplane.partitioning import UNASSIGNED, Partitioning, round_robin, severity_first
from ingest.dataplane.policy import RulePolicy, TopicPolicy

# A tenant that invents sources must not fill the memory; past this many the memory starts afresh.
REMEMBERED_ROUTES = 4096
# Between the fields of a key. No ordinary field holds it, so that ("ab", "c") and ("a", "bc") differ.
SEPARATOR = "\x1f"


class Delivery(StrEnum):
    """How an event is handed on, by request, rule or tenant: answered from the journal, by Kafka, or not kept."""

    ASYNC = "async"
    ACK = "ack"
    FIRE_AND_FORGET = "fire_and_forget"


class Route(NamedTuple):
    """Where one event goes. `drop_reason` set means nowhere, for a declared reason; `rule` is the row that said so."""

    topic: str
    partition: int
    key: bytes
    delivery: str
    drop_reason: str
    rule: int


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where no rule says otherwise."""

    topic: str
    topic_partitions: int
    errors_wait_for_ack: bool


def concerns(rule: RulePolicy, tenant: str) -> bool:
    """Whether a rule is about this tenant's events at all."""
    return not rule.tenants or tenant in rule.tenants


def default_rule(defaults: Defaults) -> RulePolicy:
    """The last rule of every rule set: everything to the default topic, errors first, keyed by source."""
    return RulePolicy(
        name="default",
        tenants=(),
        source_glob="",
        levels=(),
        metadata_field="",
        metadata_glob="",
        topic=defaults.topic,
        partitioning=Partitioning.SEVERITY_FIRST,
        key=("source",),
        delivery="",
        keep_ratio=1.0,
        drop_reason="",
    )


class CompiledRule:
    """One rule made ready: globs as patterns, the partition count looked up, the key fields as one function."""

    def __init__(self, rule: RulePolicy, partitions: int, tenant_delivery: str) -> None:
        self.rule = rule
        self.partitions = partitions
        self.delivery = rule.delivery or tenant_delivery
        self.key_of = _key_function(rule.key)
        self._source = _pattern(rule.source_glob)
        self._metadata = _pattern(rule.metadata_glob)
        self._turn: Iterator[int] = round_robin(partitions)

    @property
    def is_decided_by_source_and_level(self) -> bool:
        """Whether two events of one source and level always get the same route from this rule."""
        rule = self.rule
        return (
            (rule.key == ("source",) or not rule.key)
            and rule.partitioning != Partitioning.ROUND_ROBIN
            and (rule.keep_ratio >= 1.0 or bool(rule.drop_reason))
        )

    def matches_source_and_level(self, event: LogEvent) -> bool:
        """The part of the match that is the same for all events of a source and level."""
        return (not self.rule.levels or event.level in self.rule.levels) and (
            self._source is None or self._source.match(event.source) is not None
        )

    def matches_metadata(self, event: LogEvent) -> bool:
        """The part of the match that only the event itself decides."""
        name = self.rule.metadata_field
        if not name:
            return True
        if event.metadata is None or name not in event.metadata:
            return False
        return self._metadata is None or self._metadata.match(text_of(event.metadata[name])) is not None

    def route(self, event: LogEvent) -> Route:
        """The route of an event that matches."""
        rule = self.rule
        if rule.drop_reason:
            return Route("", UNASSIGNED, b"", self.delivery, rule.drop_reason, rule.rule_id)
        if rule.keep_ratio < 1.0 and _share(event) >= rule.keep_ratio:
            return Route("", UNASSIGNED, b"", self.delivery, "sampled", rule.rule_id)
        key = self.key_of(event)
        return Route(rule.topic, self._partition(key, str(event.level)), key, self.delivery, "", rule.rule_id)

    def _partition(self, key: bytes, level: str) -> int:
        if self.rule.partitioning == Partitioning.SEVERITY_FIRST:
            return severity_first(key, level, self.partitions)
        if self.rule.partitioning == Partitioning.ROUND_ROBIN:
            return next(self._turn)
        return UNASSIGNED


class TenantRouter:
    """The rules that can concern one tenant, in order. `route()` is not thread-safe: the lane lock guards it."""

    def __init__(
        self,
        tenant: str,
        tenant_delivery: str,
        rules: tuple[RulePolicy, ...],
        topics: dict[str, TopicPolicy],
        defaults: Defaults,
    ) -> None:
        def compiled(rule: RulePolicy) -> CompiledRule:
            topic = topics.get(rule.topic)
            return CompiledRule(rule, topic.partitions if topic else defaults.topic_partitions, tenant_delivery)

        self._rules = [compiled(rule) for rule in rules if concerns(rule, tenant)]
        self._rules.append(compiled(default_rule(defaults)))
        self._errors_wait_for_ack = defaults.errors_wait_for_ack
        self.remembered: dict[tuple[str, str | int], tuple[str, int, bytes, str, str, int]] = {}

    def route(self, event: LogEvent) -> Route:
        """The route of an event whose level is canonical; remembers it where it can."""
        can_remember = True
        for rule in self._rules:
            if not rule.matches_source_and_level(event):
                continue
            can_remember = can_remember and not rule.rule.metadata_field
            if rule.matches_metadata(event):
                route = rule.route(event)
                break
        if rule is self._rules[-1] and self._errors_wait_for_ack and event.level in ("ERROR", "FATAL"):
            route = route._replace(delivery=Delivery.ACK.value)
        if can_remember and rule.is_decided_by_source_and_level:
            if len(self.remembered) >= REMEMBERED_ROUTES:
                self.remembered.clear()
            # A plain tuple, for the pipeline takes it apart once per event, and a named one takes twice as long.
            self.remembered[event.source, event.level] = (*route,)
        return route


def text_of(value: object) -> str:
    """A metadata value as globs and keys see it: JSON's spelling for true, false and null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _pattern(glob: str) -> re.Pattern[str] | None:
    return re.compile(fnmatch.translate(glob)) if glob and glob != "*" else None


def _field_of(name: str) -> Callable[[LogEvent], str]:
    if name.startswith("metadata."):
        field = name.removeprefix("metadata.")
        return lambda event: text_of((event.metadata or {}).get(field, ""))
    attribute = {"correlationId": "correlation_id", "eventId": "event_id"}.get(name, name)
    return lambda event: str(getattr(event, attribute))


def _key_function(fields: tuple[str, ...]) -> Callable[[LogEvent], bytes]:
    if not fields:
        return lambda event: b""
    parts = [_field_of(name) for name in fields]
    if len(parts) == 1:
        return lambda event: parts[0](event).encode()
    return lambda event: SEPARATOR.join(part(event) for part in parts).encode()


def _share(event: LogEvent) -> float:
    """0 to 1, by the event's id: an event that is sent again shares its first fate."""
    return zlib.crc32(str(event.event_id).encode()) / 0x1_0000_0000
