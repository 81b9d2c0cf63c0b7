"""The tables of the control plane: what they refuse, which quota they stand for, and how the version moves."""

import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tenants.models import ApiKey, ControlPlaneVersion, Plan, Tenant
from tenants.quotas import Quota

pytestmark = pytest.mark.django_db


def test_the_models_and_the_migrations_agree() -> None:
    call_command("makemigrations", "tenants", check=True, dry_run=True, stdout=StringIO())


def test_a_fresh_database_limits_each_address_of_the_standard_plan_to_100_requests_per_s() -> None:
    quota = Plan.objects.get(name="standard").quota

    assert quota.requests_per_s_per_address == 100
    assert quota.burst_events >= 10_000, "the largest request must fit"
    assert 0 not in (quota.events_per_s, quota.bytes_per_s, quota.burst_bytes, quota.events_per_day)


def test_a_fresh_database_has_a_plan_for_agents_without_daily_and_address_limits() -> None:
    gib = 1 << 30

    quota = Plan.objects.get(name="agent").quota

    assert quota == Quota(
        events_per_s=1_000_000, burst_events=1_000_000, bytes_per_s=gib, burst_bytes=gib, events_per_day=0
    )


@pytest.mark.parametrize("name", ["acme", "a", "0", "a-b-9", "x" * 63])
def test_a_tenant_name_of_small_letters_digits_and_dashes_is_taken(standard: Plan, name: str) -> None:
    Tenant(name=name, plan=standard).full_clean()


@pytest.mark.parametrize("name", ["", "Acme", "a_b", "a b", "é", "{acme}", "acme\n", "a:b", "x" * 64])
def test_any_other_tenant_name_is_refused(standard: Plan, name: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Tenant(name=name, plan=standard).full_clean()

    assert list(refusal.value.message_dict) == ["name"]


@pytest.mark.parametrize("burst", ["burst_events", "burst_bytes"])
def test_a_burst_without_its_rate_is_refused_because_it_would_limit_nothing(burst: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Plan(name="odd", **{burst: 5}).full_clean()

    assert list(refusal.value.message_dict) == [burst]


def test_a_key_has_its_own_quota_beneath_its_tenants(acme: Tenant) -> None:
    key = ApiKey(tenant=acme, events_per_s=10, burst_events=20, bytes_per_s=30, burst_bytes=40, events_per_day=50)

    assert key.quota == Quota(events_per_s=10, burst_events=20, bytes_per_s=30, burst_bytes=40, events_per_day=50)


def test_the_state_of_a_key_follows_the_clock_and_revocation_wins() -> None:
    now = timezone.now()
    past, future = now - timedelta(seconds=1), now + timedelta(hours=1)

    assert ApiKey().state == "active"
    assert ApiKey(expires_at=future).state == "active"
    assert ApiKey(expires_at=past).state == "expired"
    assert ApiKey(expires_at=past, revoked_at=past).state == "revoked"


def test_a_plan_in_use_cannot_be_deleted(acme: Tenant) -> None:
    with pytest.raises(ProtectedError):
        acme.plan.delete()


def test_the_version_never_falls_behind_the_wall_clock() -> None:
    ControlPlaneVersion.objects.update(version=7)
    wall_ms = time.time_ns() // 1_000_000

    ControlPlaneVersion.bump()

    assert ControlPlaneVersion.current() >= wall_ms


def test_the_version_moves_on_when_the_wall_clock_was_set_back() -> None:
    ahead = (time.time_ns() // 1_000_000) + 3_600_000
    ControlPlaneVersion.objects.update(version=ahead)

    ControlPlaneVersion.bump()

    assert ControlPlaneVersion.current() == ahead + 1


def test_the_version_moves_in_a_single_update(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        ControlPlaneVersion.bump()


def test_a_flushed_database_gets_its_version_back() -> None:
    ControlPlaneVersion.objects.all().delete()

    ControlPlaneVersion.bump()

    assert ControlPlaneVersion.current() > 0


@pytest.mark.django_db(transaction=True)
def test_the_version_cannot_move_outside_of_the_transaction_of_its_write() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        ControlPlaneVersion.bump()


@pytest.mark.django_db(transaction=True)
def test_the_version_stays_when_the_write_is_rolled_back() -> None:
    @transaction.atomic
    def bump_and_fail() -> None:
        ControlPlaneVersion.bump()
        raise ZeroDivisionError

    with transaction.atomic():
        ControlPlaneVersion.bump()
    before = ControlPlaneVersion.current()

    with pytest.raises(ZeroDivisionError):
        bump_and_fail()

    assert ControlPlaneVersion.current() == before
