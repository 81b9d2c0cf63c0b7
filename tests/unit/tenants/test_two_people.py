"""Two people with one form open: what the first has changed is told to the second before it is undone."""

import html
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ingest.models import RoutingRule
from tenants import services
from tenants.models import AuditEntry, Plan, Tenant

pytestmark = pytest.mark.django_db


def opened(console: Client, page: str, pk: int) -> tuple[str, dict[str, Any]]:
    """A form's address, and what a browser would send of it, with a reason."""
    url = reverse(page, args=[pk])
    form = console.get(url).context["adminform"].form
    values = {field.html_name: field.value() for field in form if field.value() not in (None, False)}
    return url, values | {"seen": form["seen"].value(), "reason": "a test", "is_previewed": "yes"}


def test_the_second_is_told_what_the_first_has_changed_and_undoes_it_only_knowingly(
    console: Client, standard: Plan
) -> None:
    standard.events_per_s = 100
    standard.save()
    url, form = opened(console, "admin:tenants_plan_change", standard.pk)
    console.post(url, form | {"events_per_s": 50, "reason": "They asked for less."})

    refused = console.post(url, form | {"burst_events": 7})
    page = html.unescape(refused.content.decode())
    kept = Plan.objects.get(pk=standard.pk)
    again = console.post(url, form | {"burst_events": 7, "seen": refused.context["adminform"].form["seen"].value()})

    assert (refused.status_code, again.status_code) == (200, 302)
    assert "Events/s: it was 100, and is 50 now." in page
    assert "plan.change by operator" in page
    assert (kept.events_per_s, kept.burst_events) == (50, standard.burst_events)
    standard.refresh_from_db()
    assert (standard.events_per_s, standard.burst_events) == (100, 7)


def test_who_agrees_with_what_was_changed_meanwhile_is_not_stopped(console: Client, standard: Plan) -> None:
    url, form = opened(console, "admin:tenants_plan_change", standard.pk)
    Plan.objects.filter(pk=standard.pk).update(events_per_s=77)

    answer = console.post(url, form | {"events_per_s": 77, "burst_events": 7})

    assert answer.status_code == 302
    standard.refresh_from_db()
    assert (standard.events_per_s, standard.burst_events) == (77, 7)


def test_what_is_not_in_the_form_stops_nobody(console: Client, acme: Tenant) -> None:
    url, form = opened(console, "admin:tenants_tenant_change", acme.pk)
    services.tenant_suspend(tenant=acme, by="olga", reason="a test")

    answer = console.post(url, form | {"display_name": "Acme & Co."})

    assert answer.status_code == 302
    acme.refresh_from_db()
    assert (acme.display_name, acme.status) == ("Acme & Co.", "SUSPENDED")


def test_a_rule_a_key_a_user_and_a_role_are_kept_from_it_as_well(console: Client, acme: Tenant, bolt: Tenant) -> None:
    rule = RoutingRule.objects.create(name="all", topic="logs", key=["source"], position=1)
    key, _ = services.key_issue(tenant=acme, name="web", by="tests")
    person = User.objects.create_user("boris", is_staff=True)
    role = Group.objects.create(name="night shift")
    forms = {
        "routingrule": opened(console, "admin:ingest_routingrule_change", rule.pk),
        "apikey": opened(console, "admin:tenants_apikey_change", key.pk),
        "user": opened(console, "admin:auth_user_change", person.pk),
        "group": opened(console, "admin:auth_group_change", role.pk),
    }
    rule.tenants.add(bolt)
    key.allowed_networks = ["10.0.0.0/8"]
    key.save()
    person.groups.add(role)
    role.permissions.add(Permission.objects.get(codename="view_plan"))

    answers = {name: console.post(url, form) for name, (url, form) in forms.items()}
    said = {name: html.unescape(answer.content.decode()) for name, answer in answers.items()}

    assert "Tenants: it was empty, and is bolt now." in said["routingrule"]
    assert "Allowed networks: it was empty, and is 10.0.0.0/8 now." in said["apikey"]
    assert "Roles: it was empty, and is night shift now." in said["user"]
    assert "can view plan now." in said["group"].lower()
    assert not AuditEntry.objects.filter(action__endswith=".change").exists()


def test_a_role_with_more_permissions_needs_no_more_queries(console: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            console.get(reverse("admin:auth_group_change", args=[role.pk]))
        return len(captured)

    role = Group.objects.create(name="night shift")
    role.permissions.set(Permission.objects.all()[:2])
    queries()
    few = queries()
    role.permissions.set(Permission.objects.all()[:30])

    assert queries() <= few


@pytest.mark.parametrize("seen", ["{", "[]", "7", '{"events_per_s": {}}', '{"nothing": 1}'])
def test_what_was_seen_may_be_nonsense_and_is_never_a_crash(console: Client, standard: Plan, seen: str) -> None:
    url, form = opened(console, "admin:tenants_plan_change", standard.pk)

    assert console.post(url, form | {"seen": seen}).status_code in (200, 302)
