"""The console's forms for plans and tenants: each write moves the version, asks why, and is in the audit log."""

import html
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from tenants import services
from tenants.models import AuditEntry, Plan, Tenant
from tests.unit.tenants.conftest import VersionMoves
from tests.unit.tenants.forms import NO_LIMITS, get, post

pytestmark = pytest.mark.django_db

# After the page that says what a change does: is_previewed.
PLAN_FORM = {"is_previewed": "yes", "name": "golden", "requests_per_s_per_address": 5, "quarantine": "off", **NO_LIMITS}


def tenant_form(plan: Plan, **fields: object) -> dict[str, Any]:
    return {"name": "dora", "plan": plan.pk, "default_delivery": "async", "reason": "a test"} | {
        "is_previewed": "yes",
        **fields,
    }


def test_saving_a_form_moves_the_version(console: Client, acme: Tenant, version_moves: VersionMoves) -> None:
    with version_moves():
        post(console, "admin:tenants_plan_add", PLAN_FORM)
    golden = Plan.objects.get(name="golden")
    with version_moves():
        post(console, "admin:tenants_plan_change", PLAN_FORM | {"events_per_s": 9, "reason": "paid"}, golden.pk)
    with version_moves():
        post(console, "admin:tenants_tenant_add", tenant_form(acme.plan))
    with version_moves():
        post(console, "admin:tenants_tenant_change", tenant_form(golden), acme.pk)


@pytest.mark.django_db(transaction=True)
def test_a_plan_that_nobody_is_on_is_deleted_in_the_transaction_that_moves_the_version(
    console: Client, acme: Tenant, version_moves: VersionMoves
) -> None:
    # Without a test's transaction around it, a version that moves outside of the write's own one is an error.
    unused = Plan.objects.create(name="golden")

    with version_moves():
        post(console, "admin:tenants_plan_delete", {"reason": "Nobody wants it."}, unused.pk)
    answer = console.post(reverse("admin:tenants_plan_delete", args=[acme.plan_id]), {"reason": "a test"})

    assert answer.status_code == 403
    assert not Plan.objects.filter(name="golden").exists()


def test_a_plan_is_deleted_after_it_was_said_what_goes_and_asked_why(console: Client) -> None:
    unused = Plan.objects.create(name="golden", events_per_s=5_000)
    url = reverse("admin:tenants_plan_delete", args=[unused.pk])

    shown = get(console, "admin:tenants_plan_delete", unused.pk)
    refused = console.post(url, {"post": "yes"})
    kept = Plan.objects.filter(name="golden").exists()
    post(console, "admin:tenants_plan_delete", {"reason": "Nobody wants it."}, unused.pk)

    assert "nobody's limits change" in shown
    assert "events/s 5,000" in shown
    assert "This field is required" in refused.content.decode()
    assert kept
    entry = AuditEntry.objects.get(action="plan.delete")
    assert (entry.target, entry.reason) == ("golden", "Nobody wants it.")
    assert entry.before is not None
    assert entry.before["events_per_s"] == 5_000


def test_what_somebody_has_changed_is_not_deleted_by_whoever_saw_it_before(console: Client) -> None:
    unused = Plan.objects.create(name="golden", events_per_s=5_000)
    url = reverse("admin:tenants_plan_delete", args=[unused.pk])
    seen = console.get(url).context["form"]["seen"].value()
    Plan.objects.filter(pk=unused.pk).update(events_per_s=9_000)

    refused = console.post(url, {"seen": seen, "reason": "Nobody wants it."})
    kept = Plan.objects.filter(name="golden").exists()
    form = refused.context["form"]
    console.post(url, {"seen": form["seen"].value(), "reason": form["reason"].value()})

    assert "It has changed since you looked at it" in refused.content.decode()
    assert "events/s 9,000" in html.unescape(refused.content.decode())
    assert kept
    assert not Plan.objects.filter(name="golden").exists()


def test_nothing_is_deleted_by_ticking_it(console: Client) -> None:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)

    offered = {name for its_admin in admin.site._registry.values() for name in its_admin.get_actions(request)}

    assert "delete_selected" not in offered


def test_a_quota_changes_only_with_a_reason(console: Client, standard: Plan) -> None:
    page = reverse("admin:tenants_plan_change", args=[standard.pk])

    answer = console.post(page, PLAN_FORM | {"name": "standard", "events_per_s": 9})

    standard.refresh_from_db()
    assert answer.status_code == 200
    assert "This field is required" in answer.content.decode()
    assert standard.events_per_s != 9


def test_a_changed_quota_is_on_record_with_what_it_was_and_why(console: Client, standard: Plan) -> None:
    before = standard.events_per_s
    form = PLAN_FORM | {"name": "standard", "events_per_s": 9, "reason": "They asked for less."}

    post(console, "admin:tenants_plan_change", form, standard.pk)

    entry = AuditEntry.objects.get(action="plan.change")
    assert (entry.by, entry.target, entry.reason) == ("operator", "standard", "They asked for less.")
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.before["events_per_s"], entry.after["events_per_s"]) == (before, 9)
    assert "name" not in entry.after, "only what differs is kept"


def test_a_plan_says_how_many_tenants_it_concerns(console: Client, acme: Tenant) -> None:
    page = get(console, "admin:tenants_plan_change", acme.plan_id)

    assert "1 tenant</a>" in page
    assert f"{reverse('console:tenants')}?plan=standard" in page


def test_a_tenants_name_and_status_cannot_be_changed_by_its_form(console: Client, acme: Tenant) -> None:
    form = tenant_form(acme.plan, name="other", status="SUSPENDED", default_delivery="ack")

    post(console, "admin:tenants_tenant_change", form, acme.pk)

    acme.refresh_from_db()
    assert (acme.name, acme.status, acme.default_delivery) == ("acme", "ACTIVE", "ack")


def test_a_change_of_plan_names_both_plans_in_the_log(console: Client, acme: Tenant, bolt: Tenant) -> None:
    post(console, "admin:tenants_tenant_change", tenant_form(bolt.plan, display_name="Acme Inc."), acme.pk)

    entry = AuditEntry.objects.get(action="tenant.change")
    assert (entry.before, entry.after) == ({"plan": "standard"}, {"plan": "tiny"})


def test_a_tenant_that_is_made_here_is_called_as_one_made_by_command(console: Client, standard: Plan) -> None:
    page = post(console, "admin:tenants_tenant_add", tenant_form(standard))

    assert "Tenant dora" in page, "it leads to the tenant's page"
    assert AuditEntry.objects.get(target="dora").action == "tenant.create"


def test_nobody_deletes_a_tenant_past_the_page_that_looks_what_is_left(console: Client, acme: Tenant) -> None:
    answer = console.post(reverse("admin:tenants_tenant_delete", args=[acme.pk]), {"post": "yes"})

    assert answer.status_code == 403
    assert Tenant.objects.filter(pk=acme.pk).exists()


def test_the_history_of_a_row_is_what_the_audit_log_has_of_it(console: Client, acme: Tenant, bolt: Tenant) -> None:
    services.tenant_suspend(tenant=acme, by="olga", reason="They asked.")
    services.tenant_suspend(tenant=bolt, by="boris", reason="They did not pay.")

    page = get(console, "admin:tenants_tenant_history", acme.pk)

    assert "They asked." in page
    assert "They did not pay." not in page


def test_a_longer_list_of_plans_needs_no_more_queries(
    console: Client, acme: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    get(console, "admin:tenants_plan_changelist")
    with CaptureQueriesContext(connection) as short:
        get(console, "admin:tenants_plan_changelist")
    for number in range(20):
        Tenant.objects.create(name=f"tenant-{number}", plan=Plan.objects.create(name=f"plan-{number}"))

    with django_assert_num_queries(len(short)):
        get(console, "admin:tenants_plan_changelist")
