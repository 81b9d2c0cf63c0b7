"""An operator is warned of what surely goes wrong, and never of what might be meant so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from ingest.dataplane.policy import UnusableTopic
from ingest.dataplane.routing import TenantRouter
from ingest.rules.facts import Facts, policies_of
from ingest.rules.known_topics import KnownTopics
from ingest.rules.warnings import covers, warnings_of
from tests.unit.dataplane.world import DEFAULTS, completed
from tests.unit.rules.world import facts

THERE = KnownTopics({"logs": 12}, is_all=True)
LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
globs = st.sampled_from(["", "*", "a*", "ab*", "b", "ab", "?", "[ab]*", "*b", "a?b*"])
rules = st.builds(
    facts,
    tenants=st.sampled_from([[], ["acme"], ["bolt"], ["acme", "bolt"]]),
    source_glob=globs,
    levels=st.one_of(st.just([]), st.just(LEVELS), st.lists(st.sampled_from(LEVELS), max_size=3, unique=True)),
    metadata_field=st.sampled_from(["", "region", "zone"]),
    metadata_glob=globs,
)
events = st.builds(
    completed,
    source=st.text("ab", min_size=1, max_size=4),
    level=st.sampled_from(LEVELS),
    metadata=st.dictionaries(st.sampled_from(["region", "zone"]), st.text("ab", max_size=3)),
)


def kinds(*rules: Facts, topics: KnownTopics = THERE) -> list[tuple[str, str]]:
    return [(one.rule["name"], one.kind) for one in warnings_of(rules, topics)]


@given(rules, rules, events, st.sampled_from(["acme", "bolt"]))
def test_what_is_called_shadowed_never_matches_anything(
    earlier: Facts, later: Facts, event: object, tenant: str
) -> None:
    router = TenantRouter(tenant, "async", policies_of([earlier | {"id": 1}, later | {"id": 2}]), {}, DEFAULTS)

    if covers(earlier, later):
        assert router.route(event).rule != 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("earlier", "later", "is_shadowed"),
    [
        ({}, {"source_glob": "pay*"}, True),
        ({"source_glob": "pay*"}, {}, False),
        ({"source_glob": "pay*"}, {"source_glob": "payment-*"}, True),
        ({"source_glob": "pay*"}, {"source_glob": "payment"}, True),
        ({"source_glob": "pay*"}, {"source_glob": "p*"}, False),
        ({"source_glob": "pay?"}, {"source_glob": "pays"}, True),
        ({"levels": LEVELS}, {}, True),
        ({"levels": ["ERROR"]}, {"levels": ["ERROR", "FATAL"]}, False),
        ({"levels": ["ERROR", "FATAL"]}, {"levels": ["FATAL"]}, True),
        ({"tenants": ["acme"]}, {}, False),
        ({"tenants": ["acme", "bolt"]}, {"tenants": ["acme"]}, True),
        ({"metadata_field": "region"}, {"metadata_field": "region", "metadata_glob": "eu"}, True),
        ({"metadata_field": "region"}, {}, False),
        ({"drop_reason": "noise", "topic": ""}, {"levels": ["DEBUG"]}, True),
    ],
)
def test_a_rule_is_shadowed_by_one_that_takes_all_of_its_events(
    earlier: Facts, later: Facts, is_shadowed: bool
) -> None:
    found = kinds(facts(1, **earlier), facts(2, **later))

    assert found == ([("rule-2", "shadowed")] if is_shadowed else [])


def test_disabled_rules_neither_shadow_nor_are_warned_about() -> None:
    assert kinds(facts(1, enabled=False, topic="gone"), facts(2)) == []


def test_a_key_on_the_timestamp_is_told() -> None:
    assert kinds(facts(1, key=["source", "timestamp"])) == [("rule-1", "timestamp key")]


def test_a_drop_needs_no_topic() -> None:
    assert kinds(facts(1, topic="", drop_reason="noise")) == []


@pytest.mark.parametrize(
    ("is_all", "creates", "sentence"),
    [
        (True, True, "it will be created with 12 partitions"),
        (True, False, "its events wait in the journal until somebody creates it"),
        (False, True, "which is not verified"),
    ],
)
def test_a_topic_that_is_not_there_is_told_with_what_becomes_of_its_events(
    settings: Settings, is_all: bool, creates: bool, sentence: str
) -> None:
    settings.FOREBAY_TOPIC_CREATE = creates

    (warning,) = warnings_of([facts(1, topic="audit")], KnownTopics({"logs": 12}, is_all))

    assert sentence in warning.text


def test_a_topic_that_the_cluster_has_and_that_cannot_be_used_is_told_with_the_reason() -> None:
    small = UnusableTopic("logs", "too_small", takes_bytes=2_000, batch_bytes=1_000_000)

    (warning,) = warnings_of([facts(1, topic="logs")], KnownTopics({"logs": 12}, is_all=True, unusable={"logs": small}))

    assert "it takes 2,000 bytes at a time, and a batch has up to 1,000,000. Raise" in warning.text
