"""Rules of the draft in one line, and how they are published."""

from typing import Any

from ingest.models import RoutingRule, RuleSet
from ingest.rule_sets import next_position, rules_publish
from ingest.rules.facts import Facts
from tenants.models import Tenant


def draft(name: str, *tenants: Tenant, **fields: Any) -> RoutingRule:
    """The last rule of the draft; to the topic of its name unless said otherwise."""
    values = {"topic": "" if "drop_reason" in fields else name, "key": ["source"], "position": next_position()}
    made: RoutingRule = RoutingRule.objects.create(name=name, **(values | fields))
    made.tenants.set(tenants)
    return made


def publish(reason: str = "as the test says") -> RuleSet:
    return rules_publish(by="carol", reason=reason)


def facts(pk: int = 1, **fields: Any) -> Facts:
    """A rule as versions keep it; it matches everything."""
    values: Facts = {
        "id": pk,
        "name": f"rule-{pk}",
        "enabled": True,
        "tenants": [],
        "source_glob": "",
        "levels": [],
        "metadata_field": "",
        "metadata_glob": "",
        "topic": "logs",
        "partitioning": "key_hash",
        "key": ["source"],
        "delivery": "",
        "keep_ratio": 1.0,
        "drop_reason": "",
    }
    return values | fields


def names() -> list[str]:
    """Of the draft, in its order."""
    return list(RoutingRule.objects.values_list("name", flat=True))
