"""An event that is pasted is checked as the API would, and routed by the live rules and the draft side by side."""

import json
from typing import Any

import pytest
from pytest_django import Settings

from ingest.dataplane.errors import BadRequest, EventRejected
from ingest.dataplane.policy import TopicPolicy
from ingest.rules.facts import Facts
from ingest.rules.trials import Tried, event_try
from tenants.models import Tenant
from tests.unit.rules.world import facts

pytestmark = pytest.mark.django_db

TOPICS = {"logs": TopicPolicy("logs", 12, 1 << 20), "audit": TopicPolicy("audit", 3, 300)}
EVENT = {"source": "payments", "level": "error", "message": "declined", "eventId": "e-1"}


def tried(acme: Tenant, event: object = EVENT, *, live: list[Facts] | None = None, draft: list[Facts]) -> Tried:
    text = event if isinstance(event, str) else json.dumps(event)
    return event_try(text=text, tenant=acme, address="192.0.2.7", live=live or [], draft=draft, topics=TOPICS)


def test_both_ways_are_told(acme: Tenant) -> None:
    found = tried(acme, draft=[facts(7, topic="audit", source_glob="pay*")])

    assert (found.live.rule.name, found.live.route.topic, found.live.route.partition) == ("default", "logs", 0)
    assert (found.draft.rule.rule_id, found.draft.route.topic, found.draft.is_verified) == (7, "audit", True)
    assert not found.is_same


def test_the_tenants_own_delivery_is_told_where_no_rule_names_one(acme: Tenant) -> None:
    acme.default_delivery = "ack"

    found = tried(acme, draft=[facts(delivery="async")])

    assert (found.live.route.delivery, found.draft.route.delivery) == ("ack", "async")


def test_an_event_that_is_sampled_out_is_told(acme: Tenant) -> None:
    found = tried(acme, draft=[facts(keep_ratio=0.0)])

    assert found.draft.route.drop_reason == "sampled"


def test_the_same_rules_send_an_event_without_an_id_the_same_way(acme: Tenant) -> None:
    rules = [facts(keep_ratio=0.5, key=["eventId"])]

    found = tried(acme, EVENT | {"eventId": None}, live=rules, draft=rules)

    assert found.is_same
    assert found.made == ("eventId", "timestamp", "hostname", "correlationId")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ("{", "malformed_json"),
        ("  ", "empty_body"),
        ("[]", "not_an_object"),
        ('"\ud800"', "malformed_json"),
        ({"source": "s", "level": "INFO"}, "missing_field"),
        (EVENT | {"extra": 1}, "unknown_field"),
        (EVENT | {"level": "LOUD"}, "unknown_level"),
        (EVENT | {"timestamp": "1999-01-01T00:00:00Z"}, "timestamp_out_of_range"),
        (EVENT | {"message": "x" * 400}, "event_too_large"),
    ],
)
def test_what_the_api_would_refuse_is_refused_with_its_code(acme: Tenant, event: Any, code: str) -> None:
    with pytest.raises((BadRequest, EventRejected)) as refused:
        tried(acme, event, draft=[facts(topic="audit")])

    assert getattr(refused.value, "code", "") == code


def test_what_is_dropped_may_be_of_any_size_that_arrives(acme: Tenant, settings: Settings) -> None:
    drop = [facts(topic="", drop_reason="noise")]

    found = tried(acme, EVENT | {"message": "x" * 4_000}, live=drop, draft=drop)

    assert found.draft.route.drop_reason == "noise"
