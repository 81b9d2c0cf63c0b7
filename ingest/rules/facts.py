"""A rule as plain facts: what a published version keeps of it, what the data plane makes of that, and how it reads.

Control plane; pure but for the row that it reads. Facts are JSON: `id` is the row's, the order of a list is that in
which its rules are tried, tenants go by name.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ingest.dataplane.partitioning import Partitioning
from ingest.dataplane.policy import RulePolicy
from ingest.models import RoutingRule

Facts = dict[str, Any]
# In the order in which a person is told of them.
FIELDS = (
    "name",
    "enabled",
    "tenants",
    "source_glob",
    "levels",
    "metadata_field",
    "metadata_glob",
    "topic",
    "partitioning",
    "key",
    "delivery",
    "keep_ratio",
    "drop_reason",
)
_DIGEST_CHARACTERS = 16


def facts_of_rule(rule: RoutingRule) -> Facts:
    """Of a row whose tenants are prefetched, or are asked for."""
    facts = {field: getattr(rule, field) for field in FIELDS if field != "tenants"}
    return {"id": rule.pk, **facts, "tenants": sorted(tenant.name for tenant in rule.tenants.all())}


def policy_of(facts: Facts) -> RulePolicy:
    """What the data plane routes by."""
    return RulePolicy(
        name=facts["name"],
        tenants=tuple(facts["tenants"]),
        source_glob=facts["source_glob"],
        levels=tuple(facts["levels"]),
        metadata_field=facts["metadata_field"],
        metadata_glob=facts["metadata_glob"],
        topic=facts["topic"],
        partitioning=Partitioning(facts["partitioning"]),
        key=tuple(facts["key"]),
        delivery=facts["delivery"],
        keep_ratio=facts["keep_ratio"],
        drop_reason=facts["drop_reason"],
        rule_id=facts["id"],
    )


def policies_of(rules: Iterable[Facts]) -> tuple[RulePolicy, ...]:
    """The enabled ones, in their order."""
    return tuple(policy_of(rule) for rule in rules if rule["enabled"])


def digest_of(rules: Sequence[Facts]) -> str:
    """The same for the same rules in the same order: what was looked at is what is published."""
    text = json.dumps(rules, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def matches_in_words(rule: Facts) -> str:
    """What an event must be, in one phrase."""
    value = f" = {rule['metadata_glob']}" if rule["metadata_glob"] else ""
    parts = [
        f"source {rule['source_glob']}" if rule["source_glob"] else "",
        ", ".join(rule["levels"]),
        f"metadata.{rule['metadata_field']}{value}" if rule["metadata_field"] else "",
        f"of {', '.join(rule['tenants'])}" if rule["tenants"] else "",
    ]
    return "; ".join(filter(None, parts)) or "everything"


def goes_in_words(rule: Facts) -> str:
    """Where such an event goes, in one phrase."""
    if rule["drop_reason"]:
        return f"nowhere: dropped as {rule['drop_reason']}"
    parts = [
        f"{rule['topic']} by {rule['partitioning']}",
        f"key {', '.join(rule['key'])}" if rule["key"] else "no key",
        rule["delivery"],
        f"{rule['keep_ratio']:.4g} of it" if rule["keep_ratio"] < 1 else "",
    ]
    return "; ".join(filter(None, parts))
