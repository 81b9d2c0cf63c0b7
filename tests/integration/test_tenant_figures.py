"""What the console shows of a tenant and its limits, from the Redis that the workers use."""

import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from redis import Redis

from ingest.console.tenant_figures import meters_of
from ingest.models import LedgerMinute
from ingest.parked import ParkedEntry, publish_parked
from ingest.tenant_minutes import tenant_minutes_add
from tenants import services
from tenants.buckets import Order, RedisBuckets
from tenants.models import Plan, Tenant
from tenants.quotas import Limit, Scope, limits_of
from tenants.standing import used_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def redis(empty_redis_url: str, settings: Settings) -> Iterator[Redis]:
    settings.FOREBAY_REDIS_URL = empty_redis_url
    with Redis.from_url(empty_redis_url) as client:
        yield client


@pytest.fixture
def bolt(db: None) -> Tenant:
    Plan.objects.create(name="tiny", events_per_s=100, burst_events=1_000, bytes_per_s=1_000, events_per_day=5_000)
    return services.tenant_create(name="bolt", plan="tiny", by="tests")


@pytest.fixture
def console(client: Client, bolt: Tenant) -> Client:
    client.force_login(User.objects.create_superuser("operator"))
    return client


def limits(tenant: Tenant) -> list[Limit]:
    return limits_of(tenant.name, Scope.TENANT, "", tenant.plan.quota)


def take(redis: Redis, tenant: Tenant, share: float) -> None:
    """So much of each burst and of the day."""
    orders = [Order(limit, limit.burst * share) for limit in limits(tenant)]
    assert None not in RedisBuckets(redis, time.time).take(orders)


def send(redis: Redis, tenant: str, events: int) -> None:
    """As workers tell it, in the last whole minute."""
    pipe = redis.pipeline()
    tenant_minutes_add(pipe, {tenant: events}, {}, time.time() - 60)
    pipe.execute()


def refuse(redis: Redis, tenant: str, limit: str, requests: int, ago_s: float = 0) -> None:
    pipe = redis.pipeline()
    tenant_minutes_add(pipe, {}, {(tenant, limit): requests}, time.time() - ago_s)
    pipe.execute()


def test_looking_at_a_limit_takes_nothing_of_it(redis: Redis, bolt: Tenant) -> None:
    take(redis, bolt, 0.5)

    first, second = used_of(redis, limits(bolt), time.time()), used_of(redis, limits(bolt), time.time())

    assert first[-1] == second[-1] == 2_500, "of the day"
    assert 0 < second[0] <= first[0] <= 500, "a burst refills meanwhile"


def test_a_limit_that_nobody_has_used_is_free(redis: Redis, bolt: Tenant) -> None:
    assert used_of(redis, limits(bolt), time.time()) == [0.0, 0.0, 0.0]


def test_a_bucket_that_waits_for_a_debt_is_over_full(redis: Redis, bolt: Tenant) -> None:
    [events, *_] = limits(bolt)
    RedisBuckets(redis, time.time).take([Order(events, 3_000, owed=3_000)])

    [used] = used_of(redis, [events], time.time())

    assert used > events.burst


def test_meters_turn_at_80_and_at_100_percent(redis: Redis, bolt: Tenant) -> None:
    levels = {}
    for events in (4_700, 5_000, 6_100):
        redis.flushdb()
        send(redis, "bolt", events)
        rate = next(meter for meter in meters_of(redis, bolt, time.time(), 0) if meter.name == "events/s")
        levels[round(rate.percent)] = rate.level

    assert levels == {78: "", 83: "fb-warn", 102: "fb-bad"}


def test_the_tenants_page_shows_usage_refusals_and_parked_topics(redis: Redis, bolt: Tenant, console: Client) -> None:
    take(redis, bolt, 0.9)
    send(redis, "bolt", 4_500)
    refuse(redis, "bolt", "tenant events_per_s", 7)
    refuse(redis, "bolt", "tenant events_per_s", 30, ago_s=3_600)
    refuse(redis, "acme", "key bytes_per_s", 5)
    entry = {"topic": "payments", "code": "TOPIC_AUTHORIZATION_FAILED", "detail": "", "since_wall_ms": 1, "pending": 12}
    LedgerMinute.objects.create(
        tenant="bolt",
        journal="j",
        minute=int(time.time() // 60),
        received=4_100,
        journaled=4_000,
        rejections={"x": 100},
    )
    publish_parked(redis, "node/1", [ParkedEntry(tenant="bolt", **entry), ParkedEntry(tenant="acme", **entry)])  # type: ignore[arg-type]

    shown = console.get(reverse("console:tenant_live", args=["bolt"]))

    meters = {meter.name: round(meter.percent) for meter in shown.context["meters"]}
    assert meters["events/s"] == 75
    assert meters["events today"] == 82, "what was sent of 5,000, and not the 4,500 that workers have taken"
    assert b"4,100 of 5,000" in shown.content
    assert b"workers hold 400 more" in shown.content
    assert [tuple(row) for row in shown.context["refusals"]] == [("tenant events_per_s", 7, 37)]
    assert [(entry.tenant, entry.topic) for entry in shown.context["parked"]] == [("bolt", "payments")]
    assert b"Redis does not answer" not in shown.content


def test_the_list_shows_who_sends_how_much_of_their_limits(redis: Redis, bolt: Tenant, console: Client) -> None:
    services.tenant_create(name="acme", plan="agent", by="tests")
    take(redis, bolt, 0.9)
    send(redis, "bolt", 4_500)
    send(redis, "acme", 600)

    acme, listed = console.get(reverse("console:tenants")).context["rows"]

    assert (acme.events_per_s, listed.events_per_s) == (10, 75)
    assert (round(listed.rate.percent), round(listed.day.percent)) == (75, 90)
    assert acme.day is None, "its plan has no daily limit"


def test_suspending_says_how_much_would_be_refused(redis: Redis, bolt: Tenant, console: Client) -> None:
    send(redis, "bolt", 4_500)

    page = console.get(reverse("console:tenant_suspend", args=["bolt"])).content.decode()

    assert "It sends 75.0 events/s now, all of which would be refused." in page


def test_who_sends_more_than_a_plan_is_going_to_allow_is_named_before_it_is_live(
    redis: Redis, console: Client, bolt: Tenant
) -> None:
    send(redis, "bolt", 60 * 80)
    plan = {"name": "tiny", "events_per_s": 20, "burst_events": 1_000, "bytes_per_s": 1_000, "burst_bytes": 0}
    said = plan | {"events_per_day": 5_000, "requests_per_s_per_address": 0, "quarantine": "off", "reason": "a test"}

    answer = console.post(reverse("admin:tenants_plan_change", args=[bolt.plan_id]), said)

    page = answer.content.decode()
    assert "More than 20 events/s is sent now by bolt (80.0 events/s): what is above it gets a 429." in page
    assert Plan.objects.get(name="tiny").events_per_s == 100
