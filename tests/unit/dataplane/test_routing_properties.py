"""For any rule set: what is remembered never changes a route, and the first rule that matches decides."""

import fnmatch
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.event import LogEvent
from ingest.dataplane.partitioning import Partitioning
from ingest.dataplane.policy import RulePolicy
from ingest.dataplane.routing import TenantRouter, text_of
from tests.unit.dataplane.world import DEFAULTS, TOPIC, completed, rule

LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
# Without round robin, whose turn is a memory of its own.
PARTITIONINGS = [Partitioning.KEY_HASH, Partitioning.SEVERITY_FIRST]

rules = st.builds(
    rule,
    topic=st.sampled_from(["logs", "audit", "errors"]),
    tenants=st.sampled_from([(), ("acme",), ("bolt",), ("acme", "bolt")]),
    source_glob=st.sampled_from(["", "*", "a*", "*b", "?", "[ab]*", "ab"]),
    levels=st.lists(st.sampled_from(LEVELS), max_size=3).map(tuple),
    metadata_field=st.sampled_from(["", "", "region"]),
    metadata_glob=st.sampled_from(["", "eu*", "1"]),
    partitioning=st.sampled_from(PARTITIONINGS),
    key=st.sampled_from([(), ("source",), ("hostname",), ("source", "level"), ("metadata.region",)]),
    delivery=st.sampled_from(["", "ack", "async"]),
    keep_ratio=st.sampled_from([1.0, 1.0, 0.5, 0.0]),
    drop_reason=st.sampled_from(["", "", "noise"]),
)
events = st.builds(
    completed,
    source=st.text("ab", min_size=1, max_size=3),
    level=st.sampled_from(LEVELS),
    event_id=st.text("xyz", min_size=1, max_size=4),
    hostname=st.sampled_from(["h1", "h2"]),
    metadata=st.sampled_from([None, {}, {"region": "eu-west"}, {"region": 1}, {"zone": "eu"}]),
)


def router(chosen: list[RulePolicy]) -> TenantRouter:
    return TenantRouter("acme", "async", tuple(chosen), {"logs": TOPIC}, DEFAULTS)


@given(st.lists(rules, max_size=5), st.lists(events, min_size=1, max_size=30))
def test_a_remembered_route_is_the_one_that_would_be_worked_out(chosen: list[RulePolicy], sent: list[LogEvent]) -> None:
    remembering = router(chosen)

    for event in sent:
        route = remembering.remembered.get((event.source, event.level)) or remembering.route(event)

        assert route == router(chosen).route(event)


@given(st.lists(rules, max_size=5), events)
def test_the_first_rule_that_matches_decides(chosen: list[RulePolicy], event: LogEvent) -> None:
    first = next((one for one in chosen if matches(one, event)), None)

    route = router(chosen).route(event)

    if first is None:
        assert route.topic == "logs"
    elif first.drop_reason:
        assert (route.topic, route.drop_reason) == ("", first.drop_reason)
    else:
        assert route.drop_reason in ("", "sampled")
        assert route.topic == ("" if route.drop_reason else first.topic)


def matches(one: RulePolicy, event: LogEvent) -> bool:
    """The same said in plain words, with the standard library's own globs."""
    metadata: dict[str, Any] = event.metadata or {}
    return (
        (not one.tenants or "acme" in one.tenants)
        and fnmatch.fnmatchcase(event.source, one.source_glob or "*")
        and (not one.levels or event.level in one.levels)
        and (not one.metadata_field or one.metadata_field in metadata)
        and (
            not one.metadata_field
            or not one.metadata_glob
            or fnmatch.fnmatchcase(text_of(metadata[one.metadata_field]), one.metadata_glob)
        )
    )
