"""The form of a rule of the draft: no JSON to write, what cannot work is refused, and nothing of it is live."""

import html
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingest.models import RoutingRule
from ingest.rule_sets import rules_publish
from tenants.models import AuditEntry, ControlPlaneVersion, Tenant

pytestmark = pytest.mark.django_db

RULE = {"enabled": "on", "partitioning": "key_hash", "keep_ratio": 1.0}


@pytest.fixture
def console(client: Client, settings: Settings, tmp_path: Path) -> Client:
    settings.FOREBAY_SNAPSHOT_FILE = tmp_path / "none"
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    client.force_login(get_user_model().objects.create_superuser("operator"))
    return client


def save(console: Client, **form: object) -> str:
    answer = console.post(reverse("admin:ingest_routingrule_add"), RULE | form, follow=True)
    return html.unescape(answer.content.decode())


def test_levels_are_ticked_and_key_fields_written_one_a_line(console: Client) -> None:
    version = ControlPlaneVersion.current()

    save(console, name="payments", topic="payments", levels=["ERROR", "FATAL"], key="metadata.order\nsource\n")

    rule = RoutingRule.objects.get(name="payments")
    assert (rule.levels, rule.key) == (["ERROR", "FATAL"], ["metadata.order", "source"])
    assert ControlPlaneVersion.current() == version


def test_a_rule_that_is_opened_and_saved_again_stays_as_it_was(console: Client) -> None:
    save(console, name="payments", topic="payments", levels=["WARN"], key="metadata.order\nsource")
    rule = RoutingRule.objects.get(name="payments")
    page = reverse("admin:ingest_routingrule_change", args=[rule.pk])
    form = console.get(page).context["adminform"].form
    values = {field.html_name: field.value() for field in form if field.value() is not None}

    console.post(page, values)

    again = RoutingRule.objects.get(pk=rule.pk)
    assert (again.levels, again.key, again.topic) == (["WARN"], ["metadata.order", "source"], "payments")


def test_tenants_are_written_by_name_and_stay(console: Client, acme: Tenant) -> None:
    save(console, name="acmes", topic="logs", tenants=" acme\n")
    page = reverse("admin:ingest_routingrule_change", args=[RoutingRule.objects.get().pk])

    shown = console.get(page).context["adminform"].form["tenants"].value()
    console.post(page, RULE | {"name": "acmes", "topic": "audit", "tenants": shown})

    rule = RoutingRule.objects.get()
    assert ([tenant.name for tenant in rule.tenants.all()], rule.topic) == (["acme"], "audit")


def test_what_was_typed_of_tenants_is_shown_again_when_it_is_refused(console: Client, acme: Tenant) -> None:
    page = save(console, name="acmes", topic="logs", tenants="acme\nnobody")

    assert "There is no tenant nobody." in page
    assert "acme\nnobody" in page


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({"topic": "payments", "key": "nonsense"}, "A list out of source, hostname"),
        ({"topic": "payments", "levels": ["LOUD"]}, "LOUD is not one of the available choices"),
        ({"topic": "payments", "drop_reason": "noise"}, "one of the two"),
        ({}, "one of the two"),
        ({"topic": "payments", "partitioning": "severity_first"}, "hashes a key over the other partitions"),
        ({"topic": "pay/ments"}, "Kafka allows letters"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_the_reason(
    console: Client, form: dict[str, object], complaint: str
) -> None:
    page = save(console, name="payments", **form)

    assert complaint in page
    assert not RoutingRule.objects.exists()


def test_keying_on_the_timestamp_is_allowed_but_said(console: Client) -> None:
    page = save(console, name="by-time", topic="logs", key="timestamp")

    assert RoutingRule.objects.filter(name="by-time").exists()
    assert "all events of a moment go to one partition" in page


def test_a_new_rule_is_the_last_and_the_list_is_where_one_lands(console: Client) -> None:
    save(console, name="first", topic="logs")

    page = save(console, name="second", topic="logs")

    assert list(RoutingRule.objects.values_list("name", flat=True)) == ["first", "second"]
    assert "second is the last rule of the draft" in page


def test_the_list_of_the_admin_is_the_page_of_the_rules(console: Client) -> None:
    answer = console.get(reverse("admin:ingest_routingrule_changelist"))

    assert answer.headers["Location"] == reverse("console:rules")


def test_a_deleted_rule_is_said_to_be_live_still(console: Client) -> None:
    save(console, name="first", topic="logs")
    rule = RoutingRule.objects.get()
    page = reverse("admin:ingest_routingrule_delete", args=[rule.pk])

    drafted = html.unescape(console.get(page).content.decode())
    rules_publish(by="carol", reason="a test")
    live = html.unescape(console.get(page).content.decode())
    answer = console.post(page, {"reason": "It was a try."}, follow=True)

    assert "everything → logs by key_hash" in drafted
    assert "It is not live" in drafted
    assert "It is live. Workers go on with what is live" in live
    assert AuditEntry.objects.get(action="routingrule.delete").reason == "It was a try."
    assert not RoutingRule.objects.exists()
    assert "Workers go on with what is live" in answer.content.decode()


def test_a_change_of_a_rule_is_in_the_audit_log(console: Client) -> None:
    save(console, name="first", topic="logs")
    page = reverse("admin:ingest_routingrule_change", args=[RoutingRule.objects.get().pk])

    console.post(page, RULE | {"name": "first", "topic": "audit"})

    entry = AuditEntry.objects.get(action="routingrule.change")
    assert (entry.by, entry.before, entry.after) == ("operator", {"topic": "logs"}, {"topic": "audit"})
