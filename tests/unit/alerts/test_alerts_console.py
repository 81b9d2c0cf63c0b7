"""What an operator sees of incidents: the console's list and page, and the command; both only read, but for a name."""

import html
import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingest.models import Incident, Notification
from tenants.models import AuditEntry

pytestmark = pytest.mark.django_db

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def console(client: Client, settings: Settings, tmp_path: Path) -> Client:
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    client.force_login(get_user_model().objects.create_superuser("ann"))
    return client


def incident(kind: str, subject: str, opened_at: datetime = AT, ended_at: datetime | None = None) -> Incident:
    return Incident.objects.create(
        kind=kind,
        subject=subject,
        severity="page",
        value="93% used.",
        opened_at=opened_at,
        last_seen_at=opened_at,
        ended_at=ended_at,
    )


def page(console: Client, name: str, *args: object) -> str:
    return html.unescape(console.get(reverse(f"admin:ingest_incident_{name}", args=args)).content.decode())


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("alerts", *arguments, stdout=out)
    return out.getvalue()


def test_open_incidents_come_before_newer_ones_that_have_ended(console: Client) -> None:
    incident("buffer_filling", "journal of n1/7")
    incident("topic_parked", "audit of bolt", AT + timedelta(hours=1), AT + timedelta(hours=2))

    shown = page(console, "changelist")

    assert shown.index("journal of n1/7") < shown.index("audit of bolt")


def test_the_page_says_who_was_told_when_and_why_somebody_was_not(console: Client, settings: Settings) -> None:
    settings.FOREBAY_RUNBOOK_URL = "https://wiki.example.com/runbook"
    one = incident("buffer_filling", "journal of n1/7")
    told = {"incident": one, "event": "opened", "next_attempt_at": AT}
    Notification.objects.create(**told, channel="email", sent_at=AT)
    Notification.objects.create(**told, channel="webhook", attempts=3, last_error="it answered 500")

    assert "e-mail 12:00, webhook: not yet" in page(console, "changelist")
    assert "it answered 500" in page(console, "change", one.pk)
    assert 'href="https://wiki.example.com/runbook#buffer_filling"' in page(console, "change", one.pk)


def test_an_operator_says_that_somebody_is_at_it(console: Client) -> None:
    one = incident("buffer_filling", "journal of n1/7")

    console.post(reverse("admin:ingest_incident_changelist"), {"action": "acknowledge", "_selected_action": [one.pk]})

    assert Incident.objects.get().acknowledged_by == "ann"
    line = AuditEntry.objects.get(action="incident.acknowledge")
    assert (line.by, line.target, line.after) == ("ann", str(one), {"acknowledged_by": "ann"})


def test_an_incidents_own_page_has_the_button_until_somebody_is_at_it(console: Client) -> None:
    one = incident("buffer_filling", "journal of n1/7")
    button = reverse("admin:ingest_incident_acknowledge", args=[one.pk])
    before = page(console, "change", one.pk)

    console.post(button)
    console.post(button)

    assert button in before
    assert button not in page(console, "change", one.pk)
    assert AuditEntry.objects.filter(action="incident.acknowledge").count() == 1


def test_who_may_only_look_is_at_nothing(client: Client, console: Client) -> None:
    one = incident("buffer_filling", "journal of n1/7")
    viewer = User.objects.create_user("eve", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)

    answer = client.post(reverse("admin:ingest_incident_acknowledge", args=[one.pk]))
    client.post(reverse("admin:ingest_incident_changelist"), {"action": "acknowledge", "_selected_action": [one.pk]})

    assert answer.status_code == 403
    assert Incident.objects.get().acknowledged_by == ""
    assert "I am at it" not in page(client, "change", one.pk)


@pytest.mark.parametrize(
    ("kind", "subject", "where"),
    [
        ("topic_parked", "audit of bolt", "/admin/topics/audit/"),
        ("breaker_not_closed", "the cluster", "/admin/breakers/"),
        ("breaker_not_closed", "topic audit", "/admin/topics/audit/"),
        ("worker_missing", "n1/7", "/admin/journals/"),
        ("dead_letters_ageing", "platform", "/admin/ingest/deadletter/"),
        ("redis_away", "redis", "/admin/"),
        ("topic_behind", "topic audit", "/admin/topics/audit/"),
        ("delivery_errors", "platform", "/admin/ingest/deadletter/"),
        ("ledger_mismatch", "platform", "/admin/ingest/ledgerminute/"),
    ],
)
def test_an_incident_leads_to_the_page_about_it(console: Client, kind: str, subject: str, where: str) -> None:
    one = incident(kind, subject)

    shown = page(console, "change", one.pk)

    assert f'<a class="fb-link" href="{where}">' in shown
    assert f'<a class="fb-link" href="/admin/runbook/#{kind}">Runbook: {kind}</a>' in shown


@pytest.mark.parametrize(("by", "state"), [("", "OPEN"), ("ann", "ACKNOWLEDGED")])
def test_the_overview_says_how_urgent_an_alert_is_whether_somebody_is_at_it_and_what_to_do(
    console: Client, settings: Settings, by: str, state: str
) -> None:
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"
    one = incident("produce_slow", "n1/7")
    Incident.objects.update(severity="ticket", acknowledged_by=by)

    shown = html.unescape(console.get("/admin/").content.decode())

    alerts = shown.partition('id="alerts"')[2].partition("</section>")[0]
    assert f">{state}</span>" in alerts
    assert ">ticket</span>" in alerts
    assert f'<a id="runbook-{one.pk}" href="/admin/runbook/#produce_slow">runbook</a>' in alerts


def test_nobody_makes_or_removes_incidents_by_hand(console: Client) -> None:
    one = incident("buffer_filling", "journal of n1/7")

    added = console.get(reverse("admin:ingest_incident_add"))
    deleted = console.post(reverse("admin:ingest_incident_delete", args=[one.pk]), {"post": "yes"})

    assert (added.status_code, deleted.status_code) == (403, 403)
    assert Incident.objects.exists()


def test_the_list_names_open_incidents_with_their_runbook(settings: Settings) -> None:
    settings.FOREBAY_RUNBOOK_URL = "runbook.md"
    incident("buffer_filling", "journal of n1/7")
    incident("topic_parked", "audit of bolt", ended_at=AT + timedelta(hours=1))

    lines = run("list", "--json").splitlines()

    assert [json.loads(line)["runbook"] for line in lines] == ["runbook.md#buffer_filling"]
    assert "page    buffer_filling  journal of n1/7  93% used." in run("list")
    assert "audit of bolt" in run("list", "--all")


def test_a_quiet_platform_says_so() -> None:
    assert run("list") == "No incident is open.\n"


def test_a_test_without_anybody_to_tell_says_what_to_set(settings: Settings) -> None:
    settings.FOREBAY_ALERT_WEBHOOK_URL, settings.FOREBAY_ALERT_EMAIL_TO = "", []

    with pytest.raises(CommandError, match="Set FOREBAY_ALERT_WEBHOOK_URL or FOREBAY_ALERT_EMAIL_TO"):
        run("test")
