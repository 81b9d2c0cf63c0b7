"""A change of a plan, or of a tenant's plan, says what it does before it is live."""

import html
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingest.admin.senders import Change, of_changing
from tenants import services
from tenants.audit import facts_of
from tenants.models import AuditEntry, ControlPlaneVersion, Plan, Tenant

pytestmark = pytest.mark.django_db

LIMITS = {"events_per_s": 100, "burst_events": 200, "bytes_per_s": 0, "burst_bytes": 0, "events_per_day": 0}


@pytest.fixture(autouse=True)
def redis_is_away(settings: Settings) -> None:
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def paid(db: None) -> Plan:
    return Plan.objects.create(name="paid", **LIMITS)


def form(plan: Plan, **fields: object) -> dict[str, Any]:
    said = {"name": plan.name, **LIMITS, "requests_per_s_per_address": 0, "quarantine": "off", "reason": "a test"}
    return said | fields


def hidden_of(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.context["hidden"] if value}


def sentences(before: Plan, after: Plan, events_per_s: dict[str, float] | None) -> str:
    change = Change((), facts_of(before), facts_of(after), list(events_per_s or {}))
    return "\n".join(of_changing(change, events_per_s))


def test_a_lowered_limit_is_live_only_after_it_was_said_for_whom(console: Client, paid: Plan) -> None:
    for name in ("acme", "bolt"):
        services.tenant_create(name=name, plan="paid", by="tests")
    url, version = reverse("admin:tenants_plan_change", args=[paid.pk]), ControlPlaneVersion.current()

    shown = console.post(url, form(paid, events_per_s=50, reason="They asked for less."))
    kept, still = Plan.objects.get(pk=paid.pk).events_per_s, ControlPlaneVersion.current()
    done = console.post(url, hidden_of(shown))
    page = html.unescape(shown.content.decode())

    assert "events/s: 100 → 50" in page
    assert "Live on every worker within a second, for acme, bolt." in page
    assert "Who sends more than that now is not known: Redis does not answer." in page
    assert (kept, still) == (100, version), "nothing was done before it was shown"
    assert done.status_code == 302
    assert Plan.objects.get(pk=paid.pk).events_per_s == 50
    assert AuditEntry.objects.get(action="plan.change").reason == "They asked for less."


def test_what_is_wrong_with_a_form_is_told_before_what_it_would_do(console: Client, paid: Plan) -> None:
    url = reverse("admin:tenants_plan_change", args=[paid.pk])

    answer = console.post(url, form(paid, events_per_s=50, reason=""))

    assert "This field is required" in answer.content.decode()
    assert "What will happen" not in answer.content.decode()


def test_a_change_of_a_tenants_plan_says_what_differs(console: Client, paid: Plan) -> None:
    acme = services.tenant_create(name="acme", plan="paid", by="tests")
    free = Plan.objects.create(name="free", **LIMITS | {"events_per_s": 5, "burst_events": 0})
    url = reverse("admin:tenants_tenant_change", args=[acme.pk])
    said = {"plan": free.pk, "default_delivery": "async", "reason": "They did not pay."}

    shown = console.post(url, said)
    kept = Tenant.objects.get(pk=acme.pk).plan
    done = console.post(url, hidden_of(shown))
    page = html.unescape(shown.content.decode())

    for sentence in (
        "plan: paid → free",
        "events/s: 100 → 5",
        "burst events: 200 → as many as in a second",
        "for acme.",
    ):
        assert sentence in page
    assert "A batch of more than 5 events is refused with 413" in page
    assert "name:" not in page
    assert kept == paid
    assert done.status_code == 302
    assert Tenant.objects.get(pk=acme.pk).plan == free


def test_what_limits_nobody_is_saved_at_once(console: Client, paid: Plan) -> None:
    acme = services.tenant_create(name="acme", plan="paid", by="tests")
    said = {"plan": paid.pk, "default_delivery": "async", "display_name": "Acme & Co.", "reason": "Their name."}

    answer = console.post(reverse("admin:tenants_tenant_change", args=[acme.pk]), said)

    assert answer.status_code == 302
    assert Tenant.objects.get(pk=acme.pk).display_name == "Acme & Co."


def test_who_sends_more_than_the_new_limit_is_named_the_busiest_first() -> None:
    rates = {f"tenant-{number}": float(number) for number in range(30)}

    said = sentences(Plan(events_per_s=100), Plan(events_per_s=12), rates)

    assert "More than 12 events/s is sent now by tenant-29 (29.0 events/s), tenant-28" in said
    assert "tenant-20 (20.0 events/s) and 7 more: what is above it gets a 429." in said


def test_a_limit_that_is_raised_or_reaches_nobody_says_no_more_than_that() -> None:
    raised = sentences(Plan(events_per_s=12), Plan(events_per_s=0), {"acme": 500.0})
    unused = sentences(Plan(events_per_s=0), Plan(events_per_s=12), {})
    quiet = sentences(Plan(events_per_s=0), Plan(events_per_s=12), {"acme": 3.0})

    assert raised == "events/s: 12 → no limit\nLive on every worker within a second, for acme."
    assert unused == "events/s: no limit → 12\nNo tenant is on it: nobody's limits change."
    assert "Nobody who is concerned sent more than 12 events/s in the last whole minute." in quiet
