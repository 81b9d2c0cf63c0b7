"""Why an event goes where it goes: which rule matched, and why each before it did not.

Data plane, off the event path: operators ask. The route is TenantRouter's own, and each condition of a rule is asked of
a CompiledRule that has this condition alone, so that an explanation cannot disagree with what the path would do.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ingest.dataplane.event import LogEvent
from ingest.dataplane.partitioning import UNASSIGNED, Partitioning, key_hash
from ingest.dataplane.policy import RulePolicy, TopicPolicy
from ingest.dataplane.routing import (
    SEPARATOR,
    CompiledRule,
    Defaults,
    Route,
    TenantRouter,
    concerns,
    default_rule,
    text_of,
)


class Step(NamedTuple):
    """One rule that was asked; where `why_not` is empty it matched."""

    rule: RulePolicy
    why_not: tuple[str, ...]


class Explanation(NamedTuple):
    """`steps` end with the rule that decides. `partitions` are those that the topic has, or would be made with."""

    steps: tuple[Step, ...]
    route: Route
    partitions: int
    is_verified: bool

    @property
    def rule(self) -> RulePolicy:
        """The one that decides."""
        return self.steps[-1].rule

    @property
    def key_text(self) -> str:
        """The key to read; fields are joined with a character that cannot be seen."""
        return self.route.key.decode().replace(SEPARATOR, " + ")

    @property
    def partition(self) -> str:
        """Which one, in words: librdkafka chooses for what has no key."""
        how, of = self.rule.partitioning, f"of {self.partitions}"
        if self.route.drop_reason:
            return "none"
        if how == Partitioning.ROUND_ROBIN:
            return f"each {of} in turn"
        if self.route.partition != UNASSIGNED:
            return f"{self.route.partition} {of}"
        if not self.route.key:
            return f"any {of}, at random: it has no key"
        return f"{key_hash(self.route.key, self.partitions)} {of}, by key hash"


def explain(
    event: LogEvent,
    *,
    tenant: str,
    tenant_delivery: str,
    rules: Sequence[RulePolicy],
    disabled: frozenset[int] = frozenset(),
    topics: Mapping[str, TopicPolicy],
    defaults: Defaults,
) -> Explanation:
    """Of an event that is complete. `rules` are all, in their order; `disabled` the rule_ids of those that are off."""
    enabled = tuple(rule for rule in rules if rule.rule_id not in disabled)
    route = TenantRouter(tenant, tenant_delivery, enabled, dict(topics), defaults).route(event)
    steps = []
    for rule in (*rules, default_rule(defaults)):
        why_not = ("it is disabled",) if rule.rule_id in disabled else tuple(_mismatches(rule, event, tenant))
        steps.append(Step(rule, why_not))
        if not why_not:
            break
    topic = topics.get(route.topic)
    return Explanation(tuple(steps), route, topic.partitions if topic else defaults.topic_partitions, topic is not None)


def _mismatches(rule: RulePolicy, event: LogEvent, tenant: str) -> Iterator[str]:
    if not concerns(rule, tenant):
        yield f"it is of {', '.join(rule.tenants)}, not of {tenant}"
    source = replace(rule, levels=(), metadata_field="")
    if not CompiledRule(source, 1, "").matches_source_and_level(event):
        yield f"source {event.source} is not {rule.source_glob}"
    level = replace(rule, source_glob="", metadata_field="")
    if not CompiledRule(level, 1, "").matches_source_and_level(event):
        yield f"level {event.level} is not {' or '.join(rule.levels)}"
    if not CompiledRule(rule, 1, "").matches_metadata(event):
        yield _metadata_mismatch(rule, event)


def _metadata_mismatch(rule: RulePolicy, event: LogEvent) -> str:
    name, metadata = rule.metadata_field, event.metadata or {}
    if name not in metadata:
        return f"there is no metadata.{name}"
    return f"metadata.{name} {text_of(metadata[name])} is not {rule.metadata_glob}"
