"""An explanation never disagrees with the route: it names the rule that decides, and why each before it did not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.event import LogEvent
from ingest.dataplane.explaining import Explanation, explain
from ingest.dataplane.partitioning import Partitioning, key_hash
from ingest.dataplane.policy import RulePolicy, TopicPolicy
from ingest.dataplane.routing import TenantRouter
from tests.unit.dataplane.test_routing_properties import events, rules
from tests.unit.dataplane.world import DEFAULTS, TOPIC, completed, rule

TOPICS = {"logs": TOPIC, "audit": TopicPolicy("audit", 3, 1 << 20)}


def explained(event: LogEvent, *asked: RulePolicy, disabled: frozenset[int] = frozenset(), **of: Any) -> Explanation:
    fields: dict[str, Any] = {"tenant": "acme", "tenant_delivery": "async", "topics": TOPICS, "defaults": DEFAULTS} | of
    return explain(event, rules=asked, disabled=disabled, **fields)


@given(st.lists(rules, max_size=6), st.sets(st.integers(1, 6)), events)
def test_the_rule_that_is_said_to_decide_is_the_one_that_routes(
    chosen: list[RulePolicy], off: set[int], event: LogEvent
) -> None:
    numbered = [rule(**(_fields(one) | {"rule_id": at})) for at, one in enumerate(chosen, start=1)]
    enabled = tuple(one for one in numbered if one.rule_id not in off)

    found = explained(event, *numbered, disabled=frozenset(off))

    assert found.route == TenantRouter("acme", "async", enabled, TOPICS, DEFAULTS).route(event)
    assert found.rule.rule_id == found.route.rule
    assert [bool(step.why_not) for step in found.steps] == [True] * (len(found.steps) - 1) + [False]


def _fields(one: RulePolicy) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tenants": ("bolt", "crux")}, "it is of bolt, crux, not of acme"),
        ({"source_glob": "pay*"}, "source checkout is not pay*"),
        ({"levels": ("ERROR", "FATAL")}, "level INFO is not ERROR or FATAL"),
        ({"metadata_field": "zone"}, "there is no metadata.zone"),
        ({"metadata_field": "region", "metadata_glob": "eu*"}, "metadata.region us is not eu*"),
    ],
)
def test_each_condition_that_fails_is_told(fields: dict[str, Any], why: str) -> None:
    event = completed(metadata={"region": "us"})

    steps = explained(event, rule(rule_id=1, **fields)).steps

    assert [step.why_not for step in steps] == [(why,), ()]


def test_all_conditions_that_fail_are_told_at_once() -> None:
    (why_not, _) = (step.why_not for step in explained(completed(), rule(levels=("WARN",), source_glob="x")).steps)

    assert why_not == ("source checkout is not x", "level INFO is not WARN")


def test_a_disabled_rule_is_told_as_such_whatever_it_says() -> None:
    steps = explained(completed(), rule(rule_id=4), disabled=frozenset({4})).steps

    assert [(step.rule.name, step.why_not) for step in steps] == [("r", ("it is disabled",)), ("default", ())]


@pytest.mark.parametrize(
    ("fields", "partition"),
    [
        ({}, f"{key_hash(b'checkout', 3)} of 3, by key hash"),
        ({"key": ()}, "any of 3, at random: it has no key"),
        ({"key": ("metadata.none",)}, "any of 3, at random: it has no key"),
        ({"partitioning": Partitioning.ROUND_ROBIN}, "each of 3 in turn"),
        ({"partitioning": Partitioning.SEVERITY_FIRST}, f"{1 + key_hash(b'checkout', 2)} of 3"),
        ({"drop_reason": "noise"}, "none"),
    ],
)
def test_the_partition_is_told_as_far_as_it_is_decided(fields: dict[str, Any], partition: str) -> None:
    assert explained(completed(), rule("audit", **fields)).partition == partition


def test_a_topic_that_is_not_verified_is_told_with_the_partitions_it_would_get() -> None:
    found = explained(completed(), rule("nowhere"))

    assert (found.is_verified, found.partitions) == (False, 12)


def test_several_key_fields_can_be_read() -> None:
    assert explained(completed(), rule(key=("source", "level"))).key_text == "checkout + INFO"
