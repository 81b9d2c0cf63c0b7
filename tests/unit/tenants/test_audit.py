"""The audit log: what each service leaves in it, what it never holds, and how it is read."""

import json
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from tenants import services
from tenants.audit import audit, facts_of, known_values
from tenants.models import AuditEntry, Plan, Tenant
from tests.unit.tenants.forms import get

pytestmark = pytest.mark.django_db

LIST = "admin:tenants_auditentry_changelist"


def newest() -> AuditEntry:
    return AuditEntry.objects.order_by("-pk")[0]


def test_each_service_says_who_did_what_to_whom_and_what_it_was(standard: Plan) -> None:
    tenant = services.tenant_create(name="acme", by="olga")
    services.tenant_suspend(tenant=tenant, by="olga", reason="They asked.")
    services.tenant_resume(tenant=tenant, by="olga", reason="They asked again.")
    key, _ = services.key_issue(tenant=tenant, name="web", by="olga")
    new, _ = services.key_rotate(key=key, by="olga", reason="On schedule.")
    services.key_revoke(key=new, by="olga", reason="It leaked.")
    services.plan_set(plan="standard", by="olga", reason="They send twice.", deduplicates=True)
    services.tenant_delete(tenant=tenant, by="olga", reason="They left.")

    lines = [(line.action, line.target, line.reason) for line in AuditEntry.objects.order_by("pk")]
    assert lines == [
        ("tenant.create", "acme", ""),
        ("tenant.suspend", "acme", "They asked."),
        ("tenant.resume", "acme", "They asked again."),
        ("key.issue", f"fb_{key.prefix} (web) of acme", ""),
        ("key.rotate", f"fb_{key.prefix} (web) of acme", "On schedule."),
        ("key.revoke", f"fb_{new.prefix} (web) of acme", "It leaked."),
        ("plan.set", "standard", "They send twice."),
        ("tenant.delete", "acme", "They left."),
    ]
    assert {line.by for line in AuditEntry.objects.all()} == {"olga"}


def test_what_changes_nothing_leaves_no_line(acme: Tenant) -> None:
    services.tenant_suspend(tenant=acme, by="olga", reason="They asked.")
    count = AuditEntry.objects.count()

    services.tenant_suspend(tenant=acme, by="boris", reason="Me too.")
    services.plan_set(plan="standard", by="boris", reason="To be sure.", deduplicates=False)

    assert AuditEntry.objects.count() == count


def test_a_tenant_that_is_deleted_names_the_keys_that_went_with_it(acme: Tenant) -> None:
    key, _ = services.key_issue(tenant=acme, name="web", by="olga")

    services.tenant_delete(tenant=acme, by="olga", reason="They left.")

    entry = newest()
    assert entry.before is not None
    assert entry.before["keys"] == [str(key)]
    assert entry.before["plan"] == "standard"


def test_what_cannot_be_put_on_record_is_not_done(acme: Tenant) -> None:
    with pytest.raises(IntegrityError):
        services.tenant_suspend(tenant=acme, by=None, reason="Nobody asked.")  # type: ignore[arg-type]  # on purpose

    assert Tenant.objects.get().status == "ACTIVE"


@pytest.mark.parametrize("command", ["tenant_create", "key_issue", "key_rotate", "key_revoke", "plan_set"])
def test_each_command_says_who_asked(acme: Tenant, command: str) -> None:
    key, _ = services.key_issue(tenant=acme, name="web", by="tests")
    arguments = {
        "tenant_create": ("dora",),
        "key_issue": ("acme",),
        "key_rotate": (key.prefix, "--reason", "On schedule."),
        "key_revoke": (key.prefix, "--reason", "It leaked."),
        "plan_set": ("standard", "--deduplicates", "on", "--reason", "They send twice."),
    }[command]

    call_command(command, *arguments, "--by", "olga", stdout=StringIO())

    assert newest().by == "olga"
    assert newest().reason == (arguments[-1] if "--reason" in arguments else "")


def test_facts_name_other_rows_and_leave_secrets_out(acme: Tenant) -> None:
    person = User.objects.create_user("olga", password="correct-horse-battery")

    assert facts_of(acme)["plan"] == "standard"
    assert "password" not in facts_of(person)


def test_the_log_is_found_by_who_what_and_of_what(console: Client, acme: Tenant) -> None:
    services.tenant_suspend(tenant=acme, by="olga", reason="They asked.")
    services.tenant_resume(tenant=acme, by="boris", reason="They paid.")

    for query, shown, hidden in (
        ({"by": "olga"}, "They asked.", "They paid."),
        ({"action": "tenant.resume"}, "They paid.", "They asked."),
        ({"target": "acme"}, "They asked.", "nobody at all"),
        ({"target": "acm"}, "Nothing matches", "They asked."),
    ):
        page = get(console, LIST, **query)

        assert shown in page
        assert hidden not in page


def test_what_there_is_to_choose_from_is_found_without_reading_the_log_through(acme: Tenant) -> None:
    for number in range(20):
        audit(by=f"person-{number % 3}", action="tenant.suspend", target=acme)

    with CaptureQueriesContext(connection) as asked:
        people = known_values("by")

    assert people == ["person-0", "person-1", "person-2", "tests"]
    assert len(asked) == 1
    assert "DISTINCT" not in asked[0]["sql"]


def test_before_and_after_can_be_read_in_the_list_and_on_the_page(console: Client, acme: Tenant) -> None:
    services.tenant_suspend(tenant=acme, by="olga", reason="They asked.")

    row, page = get(console, LIST), get(console, "admin:tenants_auditentry_change", newest().pk)

    assert "<b>status</b> <del>ACTIVE</del> <ins>SUSPENDED</ins>" in row
    assert '<del>- status: "ACTIVE"</del>' in page
    assert '<ins>+ status: "SUSPENDED"</ins>' in page


def test_the_export_is_what_the_list_shows_and_is_itself_on_record(console: Client, acme: Tenant) -> None:
    services.tenant_suspend(tenant=acme, by="olga", reason="They asked.")

    answer = console.get(reverse("admin:tenants_auditentry_export"), {"by": "olga"})
    lines = [json.loads(line) for line in answer.getvalue().splitlines()]

    assert [(line["action"], line["target"], line["after"]) for line in lines] == [
        ("tenant.suspend", "acme", {"status": "SUSPENDED"})
    ]
    assert newest().action == "audit.export"
    assert newest().after == {"filters": "by=olga"}


def test_nobody_changes_or_deletes_a_line(console: Client, acme: Tenant) -> None:
    entry = newest()
    entry.by = "nobody"

    with pytest.raises(TypeError, match="never changed"):
        entry.save()
    with pytest.raises(TypeError, match="never deleted"):
        entry.delete()
    assert console.post(reverse("admin:tenants_auditentry_change", args=[entry.pk]), {}).status_code == 403
    assert console.post(reverse("admin:tenants_auditentry_delete", args=[entry.pk]), {}).status_code == 403


def test_a_longer_log_needs_no_more_queries(
    console: Client, acme: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    get(console, LIST)
    with CaptureQueriesContext(connection) as short:
        get(console, LIST)
    for number in range(60):
        audit(by=f"person-{number}", action=f"tenant.number-{number}", target=acme)

    with django_assert_num_queries(len(short)):
        get(console, LIST)
