"""The writes that commands and the console share."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from tenants import api_keys, services
from tenants.models import ApiKey, ControlPlaneVersion, Plan, Scope, Tenant, TenantStatus
from tests.unit.tenants.conftest import VersionMoves

pytestmark = pytest.mark.django_db


def test_every_service_moves_the_version(standard: Plan, version_moves: VersionMoves) -> None:
    with version_moves():
        acme = services.tenant_create(name="acme", by="tests")
    with version_moves():
        services.tenant_suspend(tenant=acme, by="tests", reason="a test")
    with version_moves():
        services.tenant_resume(tenant=acme, by="tests", reason="a test")
    with version_moves():
        key, _ = services.key_issue(tenant=acme, name="web", by="tests")
    with version_moves():
        new, _ = services.key_rotate(key=key, by="tests", reason="a test")
    with version_moves():
        services.key_revoke(key=new, by="tests", reason="a test")


def test_a_tenant_starts_active_on_the_standard_plan(standard: Plan) -> None:
    services.tenant_create(name="acme", display_name="Acme Inc.", default_delivery="ack", by="tests")

    acme = Tenant.objects.get(name="acme")
    assert (acme.plan, acme.status, acme.default_delivery) == (standard, TenantStatus.ACTIVE, "ack")


def test_a_tenant_that_exists_is_left_as_it_is(bolt: Tenant) -> None:
    before = ControlPlaneVersion.current()

    with pytest.raises(services.TenantExists, match=r"bolt exists already \(plan tiny, ACTIVE\)"):
        services.tenant_create(name="bolt", plan="agent", display_name="Another", by="tests")

    assert Tenant.objects.get(name="bolt").plan.name == "tiny"
    assert ControlPlaneVersion.current() == before


def test_an_unknown_plan_is_answered_with_the_known_ones() -> None:
    with pytest.raises(services.NoSuchPlan, match="no plan golden; the plans are: agent, standard"):
        services.tenant_create(name="acme", plan="golden", by="tests")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda acme: services.tenant_create(name="No Name", by="tests"),
        lambda acme: services.tenant_create(name="dora", default_delivery="carrier-pigeon", by="tests"),
        lambda acme: services.key_issue(tenant=acme, name="", by="tests"),
        lambda acme: services.key_issue(tenant=acme, name="web", scopes=[], by="tests"),
        lambda acme: services.key_issue(tenant=acme, name="web", scopes=["ingest", "root"], by="tests"),
        lambda acme: services.key_issue(tenant=acme, name="web", allowed_networks=["10.0.0.1/8"], by="tests"),
        lambda acme: services.key_issue(tenant=acme, name="web", burst_events=5, by="tests"),
        lambda acme: services.key_issue(tenant=acme, name="web", events_per_s=-1, by="tests"),
    ],
)
def test_what_is_invalid_is_neither_stored_nor_announced(acme: Tenant, break_it: Callable[[Tenant], object]) -> None:
    before = ControlPlaneVersion.current()

    with pytest.raises(ValidationError):
        break_it(acme)

    assert (Tenant.objects.count(), ApiKey.objects.count()) == (1, 0)
    assert ControlPlaneVersion.current() == before


def test_suspending_twice_announces_nothing_new(acme: Tenant) -> None:
    assert services.tenant_suspend(tenant=acme, by="tests", reason="a test") is True
    before = ControlPlaneVersion.current()

    assert services.tenant_suspend(tenant=acme, by="tests", reason="a test") is False

    acme.refresh_from_db()
    assert acme.status == TenantStatus.SUSPENDED
    assert ControlPlaneVersion.current() == before


def test_a_suspended_tenant_can_be_resumed(acme: Tenant) -> None:
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")

    services.tenant_resume(tenant=acme, by="tests", reason="a test")

    acme.refresh_from_db()
    assert acme.status == TenantStatus.ACTIVE


def test_only_the_digest_of_a_key_is_stored(acme: Tenant) -> None:
    key, secret = services.key_issue(tenant=acme, name="web", by="tests")

    [row] = ApiKey.objects.filter(pk=key.pk).values()
    assert bytes(row["digest"]) == hashlib.sha256(secret.encode()).digest() == api_keys.parse(secret)
    assert row["prefix"] == secret[3:11]
    assert secret[12:] not in repr(row)


def test_a_key_keeps_what_it_was_issued_with(acme: Tenant) -> None:
    until = timezone.now() + timedelta(days=3)

    issued, _ = services.key_issue(
        tenant=acme,
        name="web",
        scopes=["read", "ingest"],
        expires_at=until,
        allowed_networks=["10.0.0.0/255.0.0.0"],
        events_per_s=7,
        by="tests",
    )

    key = ApiKey.objects.get(pk=issued.pk)
    assert (key.name, key.tenant, key.expires_at, key.events_per_s) == ("web", acme, until, 7)
    assert key.scopes == [Scope.INGEST, Scope.READ]
    assert key.allowed_networks == ["10.0.0.0/8"]


def test_revoking_again_keeps_the_first_time(crux_key: ApiKey) -> None:
    first, before = crux_key.revoked_at, ControlPlaneVersion.current()

    assert services.key_revoke(key=crux_key, by="tests", reason="a test") is False

    crux_key.refresh_from_db()
    assert first is not None
    assert crux_key.revoked_at == first
    assert ControlPlaneVersion.current() == before


def test_a_successor_has_the_scopes_networks_and_limits_and_another_secret(acme: Tenant) -> None:
    old, old_secret = services.key_issue(
        tenant=acme,
        name="web",
        scopes=["ingest", "read"],
        allowed_networks=["10.0.0.0/8"],
        events_per_s=1,
        burst_events=2,
        bytes_per_s=3,
        burst_bytes=4,
        events_per_day=5,
        by="tests",
    )

    new, secret = services.key_rotate(key=old, by="tests", reason="a test")

    stored = ApiKey.objects.get(digest=api_keys.parse(secret))
    assert stored == new
    assert secret != old_secret
    assert (stored.tenant, stored.name, stored.replaces) == (acme, "web", old)
    assert (stored.scopes, stored.allowed_networks, stored.quota) == (old.scopes, old.allowed_networks, old.quota)
    assert stored.expires_at is None


def test_both_keys_work_until_the_overlap_ends(acme: Tenant) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", by="tests")
    before = timezone.now()

    new, _ = services.key_rotate(key=old, overlap_s=600, by="tests", reason="a test")

    old.refresh_from_db()
    assert old.expires_at is not None
    assert before <= old.expires_at - timedelta(seconds=600) <= timezone.now()
    assert (old.state, new.state) == ("active", "active")


def test_without_overlap_the_old_key_ends_at_once(acme: Tenant) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", by="tests")

    new, _ = services.key_rotate(key=old, overlap_s=0, by="tests", reason="a test")

    old.refresh_from_db()
    assert (old.state, new.state) == ("expired", "active")


def test_an_overlap_never_prolongs_the_old_key(acme: Tenant) -> None:
    soon = timezone.now() + timedelta(minutes=5)
    old, _ = services.key_issue(tenant=acme, name="web", expires_at=soon, by="tests")

    services.key_rotate(key=old, overlap_s=3_600, by="tests", reason="a test")

    old.refresh_from_db()
    assert old.expires_at == soon


def test_a_successor_lives_as_long_as_its_predecessor_was_meant_to(acme: Tenant) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", expires_at=timezone.now() + timedelta(days=2), by="tests")
    ApiKey.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=88))

    new, _ = services.key_rotate(key=old, by="tests", reason="a test")

    assert new.expires_at is not None
    assert abs(new.expires_at - new.created_at - timedelta(days=90)) < timedelta(minutes=1)


def test_a_key_is_rotated_once_so_that_a_repeated_call_piles_up_nothing(acme: Tenant) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", by="tests")
    new, _ = services.key_rotate(key=old, overlap_s=60, by="tests", reason="a test")
    old.refresh_from_db()
    first_end = old.expires_at

    with pytest.raises(services.KeyNotRotatable, match=f"rotated already, to fb_{new.prefix}"):
        services.key_rotate(key=old, overlap_s=6_000, by="tests", reason="a test")

    old.refresh_from_db()
    assert old.expires_at == first_end
    assert ApiKey.objects.count() == 2


def test_a_revoked_key_gets_no_successor(crux_key: ApiKey) -> None:
    with pytest.raises(services.KeyNotRotatable, match="is revoked: issue a new one"):
        services.key_rotate(key=crux_key, by="tests", reason="a test")

    assert ApiKey.objects.count() == 1


def test_an_expired_key_gets_no_successor(acme: Tenant) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", expires_at=timezone.now() - timedelta(seconds=1), by="tests")

    with pytest.raises(services.KeyNotRotatable, match="is expired"):
        services.key_rotate(key=old, by="tests", reason="a test")


@pytest.mark.parametrize("overlap_s", [-1, 10**12])
def test_an_overlap_out_of_range_is_refused(acme: Tenant, overlap_s: int) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", by="tests")

    with pytest.raises(services.KeyNotRotatable, match="overlap"):
        services.key_rotate(key=old, overlap_s=overlap_s, by="tests", reason="a test")
