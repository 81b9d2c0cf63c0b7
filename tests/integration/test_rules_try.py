"""Rules tried on what a tenant sent lately, as the workers leave it in Redis."""

import json
from collections.abc import Iterator

import pytest
from redis import Redis

from ingest.dataplane.recent import recent_key
from ingest.rules.trials import Stream, Way, recent_try
from tenants import services
from tenants.models import Plan, Tenant
from tests.unit.rules.world import facts

pytestmark = pytest.mark.django_db


@pytest.fixture
def redis(empty_redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(empty_redis_url) as client:
        yield client


@pytest.fixture
def acme(db: None) -> Tenant:
    Plan.objects.get_or_create(name="standard")
    return services.tenant_create(name="acme", by="tests")


def sent(redis: Redis, *sources: str) -> None:
    """As a worker leaves it: complete events, the newest first."""
    for number, source in enumerate(sources):
        event = {"source": source, "level": "INFO", "message": "m", "eventId": f"e-{number}", "tenant": "acme"}
        redis.lpush(recent_key("acme"), json.dumps(event))


def test_recent_events_are_counted_by_where_they_go_and_where_they_would(redis: Redis, acme: Tenant) -> None:
    sent(redis, "payments", "shop", "payments", "noise")
    live = [facts(1, name="pay", source_glob="pay*", topic="payments")]
    draft = [
        facts(1, name="pay", source_glob="pay*", topic="ledger"),
        facts(2, name="quiet", source_glob="noise", topic="", drop_reason="noise"),
    ]

    sample = recent_try(redis, tenant=acme, live=live, draft=draft, topics={})

    same = Way("default", "logs")
    assert (sample.events, sample.changed_events) == (4, 3)
    assert sample.streams == [
        Stream(Way("pay", "payments"), Way("pay", "ledger"), 2, "payments"),
        Stream(same, Way("quiet", "dropped as noise"), 1, "noise"),
        Stream(same, same, 1, "shop"),
    ]


def test_a_tenant_that_has_sent_nothing_has_an_empty_sample(redis: Redis, acme: Tenant) -> None:
    assert recent_try(redis, tenant=acme, live=[], draft=[], topics={}) == (0, [], 100)
