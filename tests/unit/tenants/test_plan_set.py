"""What a plan does with what comes again or is bad: set by command, seen in the console, and workers hear of it."""

import html
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from ingest import snapshot
from ingest.dataplane.policy import load
from tenants import services
from tenants.models import ControlPlaneVersion, Plan
from tests.unit.tenants.conftest import VersionMoves

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("plan_set", *arguments, stdout=out)
    return out.getvalue()


def test_what_is_named_is_changed_and_the_rest_stays(standard: Plan, version_moves: VersionMoves) -> None:
    with version_moves():
        first = run("standard", "--deduplicates", "on", "--quarantine", "hash")
    second = run("standard", "--idempotency-keys", "on", "--deduplicates", "off")

    assert first == "Plan standard: idempotency_keys off, deduplicates on, quarantine hash.\n"
    assert second == "Plan standard: idempotency_keys on, deduplicates off, quarantine hash.\n"


def test_without_an_option_nothing_changes(standard: Plan) -> None:
    before = ControlPlaneVersion.current()

    facts = json.loads(run("standard", "--json"))

    assert facts == {"plan": "standard", "idempotency_keys": False, "deduplicates": False, "quarantine": "off"}
    assert ControlPlaneVersion.current() == before


@pytest.mark.parametrize(
    "arguments", [("gold",), ("standard", "--deduplicates", "yes"), ("standard", "--quarantine", "all")]
)
def test_what_is_unknown_is_refused(standard: Plan, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)


def test_workers_hear_of_it(standard: Plan) -> None:
    services.tenant_create(name="acme", by="tests")
    run("standard", "--idempotency-keys", "on", "--deduplicates", "on", "--quarantine", "redacted")

    policy = load(snapshot.build(())).tenants["acme"]

    assert (policy.idempotency_keys, policy.deduplicates, policy.quarantine) == (True, True, "redacted")


def test_the_console_shows_and_changes_it(console: Client, standard: Plan) -> None:
    page = reverse("admin:tenants_plan_change", args=[standard.pk])
    fields = (
        "events_per_s",
        "burst_events",
        "bytes_per_s",
        "burst_bytes",
        "events_per_day",
        "requests_per_s_per_address",
    )
    form = {"name": "standard", "deduplicates": "on", "quarantine": "hash", "reason": "They send twice."} | {
        field: getattr(standard, field) for field in fields
    }

    shown = console.post(page, form)
    answer = console.post(page, form | {"is_previewed": "yes"})

    assert "deduplicates: no → yes" in html.unescape(shown.content.decode())
    assert answer.status_code == 302
    standard.refresh_from_db()
    assert (standard.deduplicates, standard.quarantine) == (True, "hash")
