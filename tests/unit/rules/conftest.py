"""What the tests of routing rules share: people of each role, and Acme."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import Settings

from tenants import services
from tenants.models import Plan, Tenant

As = Callable[[str], Client]


@pytest.fixture
def acme(db: None) -> Tenant:
    Plan.objects.get_or_create(name="standard")
    return services.tenant_create(name="acme", by="tests")


@pytest.fixture(scope="session")
def _cluster() -> Iterator[str]:
    """The address of librdkafka's cluster in memory, which has no topic but those that are produced to."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 3})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.flush(1)


@pytest.fixture
def as_(db: None, settings: Settings, tmp_path: Path, _cluster: str) -> As:
    """A client for somebody who has a role and nothing else."""
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    settings.FOREBAY_SNAPSHOT_FILE = tmp_path / "snapshot.msgpack"
    # Nobody listens there.
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = _cluster

    def logged_in(role: str) -> Client:
        user = User.objects.create_user(role.split()[0], is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return logged_in
