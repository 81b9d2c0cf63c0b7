"""The cast: Acme is active, Bolt sits on a plan of its own that it can exceed, Crux has a revoked key."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from pytest_django import Settings

from tenants import services
from tenants.models import ApiKey, ControlPlaneVersion, Plan, Tenant

VersionMoves = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def standard(db: None) -> Plan:
    """The plan of the migration, or the like where a transactional test has flushed it."""
    return Plan.objects.get_or_create(name="standard", defaults={"events_per_s": 5_000})[0]


@pytest.fixture
def acme(standard: Plan) -> Tenant:
    return services.tenant_create(name="acme", display_name="Acme Inc.", by="tests")


@pytest.fixture
def bolt(db: None) -> Tenant:
    Plan.objects.create(name="tiny", events_per_s=1, burst_events=2)
    return services.tenant_create(name="bolt", plan="tiny", by="tests")


@pytest.fixture
def crux_key(standard: Plan) -> ApiKey:
    crux = services.tenant_create(name="crux", by="tests")
    key, _ = services.key_issue(tenant=crux, name="lost", by="tests")
    services.key_revoke(key=key, by="tests", reason="a test")
    return key


@pytest.fixture
def version_moves() -> VersionMoves:
    """A block in which the control-plane version must move, or the workers would never hear of its writes."""

    @contextmanager
    def moving() -> Iterator[None]:
        before = ControlPlaneVersion.current()
        yield
        assert ControlPlaneVersion.current() > before

    return moving


@pytest.fixture
def console(db: None, client: Client, settings: Settings, tmp_path: Path) -> Client:
    """A browser with an operator logged in."""
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    client.force_login(get_user_model().objects.create(username="operator", is_staff=True, is_superuser=True))
    return client
