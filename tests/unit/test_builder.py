"""The snapshot builder: each committed change becomes a newer file, whatever of its surroundings is away."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.utils import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from ingest.builder import Builder
from ingest.dataplane.policy import Snapshot, TopicPolicy, UnusableTopic, load
from ingest.dataplane.snapshot_file import SnapshotFile
from ingest.models import RoutingRule, RuleSet
from ingest.rule_sets import rules_publish
from ingest.topic_watch import RETRY_S
from ingest.topics import KafkaAway, Verified
from ingest.unusable_topics import Reason
from tenants import api_keys, services
from tenants.models import Plan, Tenant
from tests.unit.tenants.quota_world import FakeClock

# Not in a transaction of the test's, from whose connection the builder would let go.
pytestmark = pytest.mark.django_db(transaction=True)


class Cluster:
    """The topics of a cluster, which may be away, or answer late."""

    def __init__(self) -> None:
        self.topics = {"logs": 12}
        self.is_away = False
        self.asked: list[list[str]] = []
        self.answers = threading.Event()
        self.answers.set()

    def verify(self, names: list[str], former: list[str]) -> Verified:
        self.asked.append(names)
        assert self.answers.wait(20)
        if self.is_away:
            raise KafkaAway("no broker")
        wanted = (*names, *former)
        return Verified(
            tuple(TopicPolicy(name, self.topics[name], 1 << 20) for name in wanted if name in self.topics),
            tuple(UnusableTopic(name, Reason.ABSENT) for name in wanted if name not in self.topics),
        )


class World:
    def __init__(self, path: Path) -> None:
        self.path, self.cluster, self.clock = path, Cluster(), FakeClock()
        # Nobody listens there: what the builder does without Redis is what every test but the integration's sees.
        self.redis = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.1, retry=None)
        self.builder = self.restarted()

    def restarted(self) -> Builder:
        return Builder(self.path, self.redis, self.cluster, self.clock)

    def found(self) -> Snapshot:
        return load(self.path.read_bytes())

    def topics(self) -> dict[str, int]:
        return {name: topic.partitions for name, topic in self.found().topics.items()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "snapshot.msgpack")
    yield made
    made.cluster.answers.set()


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    Plan.objects.get_or_create(name="standard")
    return services.tenant_create(name="acme", by="tests")


def rule(*tenants: Tenant, **fields: object) -> RoutingRule:
    """A rule that is live."""
    made: RoutingRule = RoutingRule.objects.create(**({"name": "r", "topic": "audit", "key": ["source"]} | fields))
    made.tenants.set(tenants)
    publish()
    return made


def publish() -> None:
    rules_publish(by="operator", reason="as the test says")


# --- what is in it ---------------------------------------------------------------------------------------------------
def test_tenants_keys_and_rules_are_in_the_file_as_they_are_committed(world: World, acme: Tenant) -> None:
    key, secret = services.key_issue(
        tenant=acme, name="web", scopes=["ingest"], allowed_networks=["10.0.0.0/8"], by="tests"
    )
    made = rule(acme, source_glob="pay*", levels=["ERROR"], keep_ratio=0.5)

    world.builder.step()

    found = world.found()
    policy = found.keys[api_keys.digest(secret)]
    assert (policy.key_id, policy.tenant, policy.revoked) == (key.pk, "acme", False)
    assert (policy.scopes, policy.allowed_networks) == (frozenset({"ingest"}), ("10.0.0.0/8",))
    assert found.tenants["acme"].active
    (in_file,) = found.header.rules
    assert (in_file.rule_id, found.header.rules_version) == (made.pk, 1)
    assert (in_file.tenants, in_file.source_glob, in_file.levels, in_file.keep_ratio) == (
        ("acme",),
        "pay*",
        ("ERROR",),
        0.5,
    )


def test_a_revoked_key_stays_so_that_its_holder_is_told(world: World, acme: Tenant) -> None:
    key, secret = services.key_issue(tenant=acme, name="web", by="tests")
    world.builder.step()

    services.key_revoke(key=key, by="tests", reason="a test")
    world.builder.step()

    assert world.found().keys[api_keys.digest(secret)].revoked


def test_rules_are_in_their_order_and_disabled_ones_are_not(world: World) -> None:
    rule(name="second", position=20)
    rule(name="first", position=10)
    rule(name="off", position=5, enabled=False)

    world.builder.step()

    assert [one.name for one in world.found().header.rules] == ["first", "second"]


# --- when it is written ----------------------------------------------------------------------------------------------
def test_every_change_is_written_by_the_next_look_and_nothing_else_is(world: World, acme: Tenant) -> None:
    first, idle = world.builder.step(), world.builder.step()
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    changed = world.builder.step()

    assert [first, idle, changed] == [True, False, True]
    assert not world.found().tenants["acme"].active


def test_workers_take_in_every_file_that_is_written(world: World, acme: Tenant) -> None:
    worker = SnapshotFile(world.path)
    versions = []

    for change in (services.tenant_suspend, services.tenant_resume, services.tenant_suspend):
        change(tenant=acme, by="tests", reason="a test")
        world.builder.step()
        taken = worker.changed()
        assert taken is not None
        versions.append(taken.header.version)

    assert versions == sorted(set(versions))


def test_a_builder_that_starts_again_writes_no_older_file(world: World, acme: Tenant) -> None:
    world.builder.step()
    before = world.found().age_key

    again = world.restarted()
    again.step()

    assert world.found().age_key >= before


def test_a_write_that_is_rolled_back_is_never_in_the_file(world: World, acme: Tenant) -> None:
    world.builder.step()

    with transaction.atomic():
        services.tenant_suspend(tenant=acme, by="tests", reason="a test")
        transaction.set_rollback(True)
    world.builder.step()

    assert world.found().tenants["acme"].active


# --- the cluster -----------------------------------------------------------------------------------------------------
def test_topics_are_verified_when_a_rule_names_a_new_one(world: World) -> None:
    world.cluster.topics["audit"] = 3
    world.builder.step()
    before = world.topics()

    rule(topic="audit")
    world.builder.step()

    assert before == {"logs": 12}
    assert world.topics() == {"logs": 12, "audit": 3}
    assert world.cluster.asked == [["logs"], ["audit", "logs"]]


def test_a_topic_that_no_rule_names_any_more_stays_as_long_as_events_may_wait_for_it(world: World) -> None:
    world.cluster.topics |= {"audit": 3, "older": 1}
    with_older = rule(name="older", topic="older")
    RuleSet.objects.update(at=timezone.now() - timedelta(days=30))
    RoutingRule.objects.filter(pk=with_older.pk).update(topic="audit")
    publish()
    RuleSet.objects.filter(number=2).update(at=timezone.now() - timedelta(days=20))
    RoutingRule.objects.all().delete()
    publish()

    world.builder.step()

    assert world.topics() == {"logs": 12, "audit": 3}
    assert world.found().header.rules == ()


def test_a_draft_is_in_no_file(world: World) -> None:
    rule(name="live", topic="audit")
    world.builder.step()

    RoutingRule.objects.update(topic="draft")
    moved = world.builder.step()

    assert not moved
    assert [one.topic for one in world.found().header.rules] == ["audit"]


def test_a_rule_whose_tenant_is_gone_is_nobodys(world: World, acme: Tenant) -> None:
    rule(acme, name="acmes", topic="audit")
    acme.delete()

    world.builder.step()

    (in_file,) = world.found().header.rules
    assert in_file.tenants == ("acme",)


def test_a_topic_that_appears_later_is_found_without_any_change(world: World) -> None:
    rule(topic="audit")
    world.builder.step()
    before = world.topics()

    world.cluster.topics["audit"] = 3
    world.clock.advance(RETRY_S)
    world.builder.step()

    assert before == {"logs": 12}
    assert world.topics() == {"logs": 12, "audit": 3}


def test_why_a_topic_cannot_be_used_is_in_the_file_until_it_can(world: World) -> None:
    rule(topic="audit")
    world.builder.step()
    before = world.found().header.unusable
    world.cluster.is_away = True
    again = world.restarted()
    again.step()
    kept = world.found().header.unusable

    world.cluster.is_away = False
    world.cluster.topics["audit"] = 3
    world.clock.advance(RETRY_S)
    again.step()

    assert before == kept == (UnusableTopic("audit", "absent"),)
    assert world.found().header.unusable == ()


def test_kafka_away_keeps_what_was_verified(world: World, acme: Tenant) -> None:
    world.builder.step()
    world.cluster.is_away = True

    world.clock.advance(100_000)
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    world.builder.step()

    assert world.topics() == {"logs": 12}
    assert not world.found().tenants["acme"].active


def test_kafka_away_at_a_restart_keeps_what_the_last_file_has(world: World, acme: Tenant) -> None:
    world.builder.step()
    world.cluster.is_away = True

    again = world.restarted()
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    again.step()

    assert world.topics() == {"logs": 12}
    assert not world.found().tenants["acme"].active


def test_a_cluster_that_hangs_does_not_keep_a_change_from_the_file(world: World, acme: Tenant) -> None:
    world.builder.step()
    world.cluster.answers.clear()

    world.clock.advance(100_000)
    world.builder.step()
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    world.builder.step()

    assert not world.found().tenants["acme"].active


# --- the database ----------------------------------------------------------------------------------------------------
def away(execute: Callable[..., object], sql: str, *arguments: object) -> object:
    raise OperationalError("server closed the connection unexpectedly")


def test_the_database_away_leaves_the_last_file_and_is_no_error(
    world: World, acme: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    world.builder.step()
    before = world.path.read_bytes()

    with connection.execute_wrapper(away):
        steps = [world.builder.step() for _ in range(3)]

    assert steps == [False, False, False]
    assert world.path.read_bytes() == before
    assert caplog.text.count("the database does not answer") == 1


def test_the_database_back_is_followed_again(world: World, acme: Tenant) -> None:
    world.builder.step()
    with connection.execute_wrapper(away):
        world.builder.step()

    services.tenant_suspend(tenant=acme, by="tests", reason="a test")

    assert world.builder.step()
    assert not world.found().tenants["acme"].active


# --- who may be taken away -------------------------------------------------------------------------------------------
def test_a_tenant_with_rules_of_its_own_cannot_be_deleted_from_under_them(
    acme: Tenant, client: Client, settings: Settings, tmp_path: Path
) -> None:
    """A rule without tenants is everybody's: Bolt's events would go where Acme's did."""
    settings.STATIC_ROOT = tmp_path
    rule(acme)
    client.force_login(get_user_model().objects.create_superuser("operator"))

    page = client.post(reverse("console:tenant_delete", args=["acme"]), {"reason": "they left"}).content.decode()

    assert Tenant.objects.filter(pk=acme.pk).exists()
    assert "The live routing rule r names it" in page
    assert "The draft routing rule r names it" in page
