"""Two nodes' snapshot builders around one Redis: the highest version wins, and a node without a database follows."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.db.utils import OperationalError
from redis import Redis

from ingest.builder import PUBLISHED, Builder
from ingest.dataplane.policy import Snapshot, TopicPolicy, load
from ingest.topics import Verified
from tenants import services
from tenants.models import Plan, Tenant

# Not in a transaction of the test's, from whose connection the builder would let go.
pytestmark = pytest.mark.django_db(transaction=True)


class Cluster:
    def verify(self, names: list[str], former: list[str]) -> Verified:
        return Verified(tuple(TopicPolicy(name, 12, 1 << 20) for name in (*names, *former)))


class NodeBuilder:
    """One node's builder with a file of its own."""

    def __init__(self, path: Path, redis: Redis) -> None:
        self.path = path
        self.builder = Builder(path, redis, Cluster())

    def found(self) -> Snapshot:
        return load(self.path.read_bytes())

    def step_without_database(self) -> bool:
        with connection.execute_wrapper(_away):
            return self.builder.step()


def _away(execute: Callable[..., object], sql: str, *arguments: object) -> object:
    raise OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def redis(empty_redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(empty_redis_url) as client:
        yield client


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    Plan.objects.get_or_create(name="standard")
    return services.tenant_create(name="acme", by="tests")


@pytest.fixture
def nodes(tmp_path: Path, redis: Redis) -> tuple[NodeBuilder, NodeBuilder]:
    return NodeBuilder(tmp_path / "a.msgpack", redis), NodeBuilder(tmp_path / "b.msgpack", redis)


def published(redis: Redis) -> Snapshot:
    blob = redis.get(PUBLISHED)
    assert isinstance(blob, bytes)
    return load(blob)


def test_a_node_without_a_database_takes_what_another_has_built(
    nodes: tuple[NodeBuilder, NodeBuilder], acme: Tenant
) -> None:
    well, cut_off = nodes
    well.builder.step()

    first = cut_off.step_without_database()
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    well.builder.step()
    second = cut_off.step_without_database()
    third = cut_off.step_without_database()

    assert [first, second, third] == [True, True, False]
    assert cut_off.found() == well.found()
    assert not cut_off.found().tenants["acme"].active


def test_what_is_published_is_never_replaced_by_something_older(
    nodes: tuple[NodeBuilder, NodeBuilder], redis: Redis, acme: Tenant
) -> None:
    one, other = nodes
    one.builder.step()
    older = redis.get(PUBLISHED)
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    other.builder.step()
    newest = published(redis)
    assert isinstance(older, bytes)

    one.path.write_bytes(older)
    NodeBuilder(one.path, redis)
    one.builder.step()

    assert published(redis).age_key >= newest.age_key
    assert not published(redis).tenants["acme"].active


def test_a_node_that_is_ahead_does_not_go_back(
    nodes: tuple[NodeBuilder, NodeBuilder], redis: Redis, acme: Tenant
) -> None:
    one, other = nodes
    other.builder.step()
    older = redis.get(PUBLISHED)
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    one.builder.step()
    ahead = one.found().age_key
    assert isinstance(older, bytes)
    redis.set(PUBLISHED, older)

    assert not one.step_without_database()
    assert one.found().age_key == ahead


def test_what_is_no_snapshot_in_redis_does_no_harm(nodes: tuple[NodeBuilder, NodeBuilder], redis: Redis) -> None:
    one, other = nodes
    redis.set(PUBLISHED, b"garbage")

    assert not one.step_without_database()
    assert other.builder.step()
    assert other.found().topics
