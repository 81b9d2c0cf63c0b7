"""The console's pages about tenants, as far as the database goes; Redis is away here, and the pages say so."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from ingest.models import DeadLetter, LedgerMinute, QuarantinedEvent, RoutingRule, RuleSet
from ingest.rules.facts import facts_of_rule
from tenants import services
from tenants.models import ApiKey, AuditEntry, Plan, Tenant
from tests.unit.tenants.conftest import VersionMoves
from tests.unit.tenants.forms import get, post

pytestmark = pytest.mark.django_db

LIST, PAGE = "console:tenants", "console:tenant"
SUSPEND, RESUME, DELETE = "console:tenant_suspend", "console:tenant_resume", "console:tenant_delete"


@pytest.fixture(autouse=True)
def redis_is_away(settings: Settings) -> None:
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"


def letter(tenant: str, **fields: object) -> DeadLetter:
    now = timezone.now()
    facts: dict[str, object] = {
        "journal": "b7c1e4a0",
        "sequence": DeadLetter.objects.count(),
        "event_id": "e",
        "topic": "logs",
        "value": b"{}",
        "fault": "record",
        "code": "MSG_SIZE_TOO_LARGE",
        "accepted_at": now,
        "dead_at": now,
        "retry_since": now,
    }
    return DeadLetter.objects.create(tenant=tenant, **(facts | fields))


def this_minute(tenant: str, **totals: object) -> LedgerMinute:
    minute = int(timezone.now().timestamp() // 60)
    return LedgerMinute.objects.create(tenant=tenant, minute=minute, journal="b7c1e4a0", **totals)


def test_the_list_shows_each_tenant_with_plan_status_and_keys_that_work(
    console: Client, acme: Tenant, bolt: Tenant, crux_key: ApiKey
) -> None:
    services.key_issue(tenant=acme, name="web", by="tests")
    services.key_issue(tenant=acme, name="old", expires_at=timezone.now() - timedelta(days=1), by="tests")
    services.tenant_suspend(tenant=bolt, by="tests", reason="a test")

    answer = console.get(reverse(LIST))

    rows = {
        row.tenant.name: (row.tenant.plan.name, row.tenant.status, row.active_keys) for row in answer.context["rows"]
    }
    assert rows == {
        "acme": ("standard", "ACTIVE", 1),
        "bolt": ("tiny", "SUSPENDED", 0),
        "crux": ("standard", "ACTIVE", 0),
    }


def test_the_list_is_searched_by_name_plan_and_status(console: Client, acme: Tenant, bolt: Tenant) -> None:
    services.tenant_suspend(tenant=bolt, by="tests", reason="a test")

    for query in ({"q": "Inc."}, {"q": "ACM"}, {"plan": "standard"}, {"status": "ACTIVE"}):
        rows = console.get(reverse(LIST), query).context["rows"]

        assert [row.tenant.name for row in rows] == ["acme"]


def test_an_empty_list_says_what_to_do(console: Client, acme: Tenant) -> None:
    searched = get(console, LIST, q="nobody")
    services.tenant_delete(tenant=acme, by="tests", reason="a test")
    empty = get(console, LIST)

    assert "Show all of them" in searched
    assert "manage.py tenant_create NAME" in empty


@pytest.mark.parametrize("page", [LIST, "console:tenants_live"])
def test_a_longer_list_needs_no_more_queries(
    console: Client, standard: Plan, page: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def grow(first: int, end: int) -> None:
        for number in range(first, end):
            tenant = Tenant.objects.create(name=f"tenant-{number}", plan=standard)
            services.key_issue(tenant=tenant, name="web", by="tests")

    grow(0, 5)
    get(console, page)
    with CaptureQueriesContext(connection) as short:
        get(console, page)
    grow(5, 50)

    with django_assert_num_queries(len(short)):
        get(console, page)


def test_pages_follow_each_other_in_the_order_of_names(console: Client, standard: Plan) -> None:
    Tenant.objects.bulk_create(Tenant(name=f"tenant-{number:03}", plan=standard) for number in range(120))

    last = console.get(reverse(LIST), {"page": "3", "plan": "standard"})

    assert [row.tenant.name for row in last.context["rows"]] == [f"tenant-{number}" for number in range(100, 120)]
    assert "?plan=standard&amp;page=2" in last.content.decode()


def test_without_redis_both_pages_say_so_and_show_the_rest(console: Client, acme: Tenant) -> None:
    this_minute("acme", received=12, journaled=10, delivered=10, rejections={"unknown_level": 2})

    listed, page = get(console, LIST), get(console, PAGE, "acme")

    assert "Redis does not answer: what is sent now is not known" in listed
    assert "Redis does not answer" in page
    assert "unknown_level" in page


def test_the_ledger_is_that_of_the_last_hour_and_of_today(console: Client, acme: Tenant) -> None:
    this_minute("acme", received=12, journaled=10, delivered=7, pending=3, rejections={"unknown_level": 2})
    this_minute("bolt", received=99, journaled=99)
    midnight = int(datetime.now(UTC).replace(hour=0, minute=0).timestamp() // 60)
    LedgerMinute.objects.create(tenant="acme", minute=midnight - 200, journal="b7c1e4a0", received=5, journaled=5)

    ledger = {row.word: row for row in console.get(reverse(PAGE, args=["acme"])).context["ledger"]}

    assert (ledger["received"].hour, ledger["received"].day) == (12, 12)
    assert (ledger["accepted"].day, ledger["rejected"].day, ledger["delivered"].day) == (10, 2, 7)
    assert ledger["pending"].day == 3


def test_rejections_come_with_a_sample_where_the_plan_keeps_one(console: Client, acme: Tenant) -> None:
    this_minute("acme", received=2, rejections={"unknown_level": 2})
    facts = {"key_id": 1, "dialect": "native", "correlation_id": "c", "index": 0, "size_bytes": 3}
    for tenant, text in (("bolt", "of another"), ("acme", "its own")):
        QuarantinedEvent.objects.create(
            tenant=tenant, received_at=timezone.now(), code="unknown_level", text=text, **facts
        )

    unkept = get(console, PAGE, "acme")
    Plan.objects.filter(name="standard").update(quarantine="redacted")
    kept = get(console, PAGE, "acme")

    assert "its own" in kept
    assert "of another" not in kept
    assert "set <b>quarantine</b> in the plan" in unkept
    assert "set <b>quarantine</b> in the plan" not in kept


def test_the_page_shows_dead_letters_by_cause_keys_and_what_was_done(console: Client, acme: Tenant) -> None:
    letter("acme"), letter("acme"), letter("bolt", code="OF_ANOTHER"), letter("acme", status="replayed", code="CLOSED")
    key, _ = services.key_issue(tenant=acme, name="web", by="olga")
    services.tenant_suspend(tenant=acme, by="olga", reason="They asked.")

    page = get(console, PAGE, "acme")

    assert "record: MSG_SIZE_TOO_LARGE" in page
    assert "OF_ANOTHER" not in page
    assert "CLOSED" not in page
    assert f"fb_{key.prefix}" in page
    assert "They asked." in page


def test_more_of_everything_needs_no_more_queries(
    console: Client, acme: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def grow(count: int) -> None:
        for number in range(count):
            letter("acme", code=f"CODE_{number}")
            key, _ = services.key_issue(tenant=acme, name=f"key-{number}", by="tests")
            services.key_rotate(key=key, by="tests", reason="a test")

    grow(2)
    get(console, PAGE, "acme")
    with CaptureQueriesContext(connection) as short:
        get(console, PAGE, "acme")
    grow(20)

    with django_assert_num_queries(len(short)):
        get(console, PAGE, "acme")


def test_an_unknown_tenant_is_not_found(console: Client) -> None:
    for page in (PAGE, "console:tenant_live", SUSPEND, RESUME, DELETE):
        assert console.get(reverse(page, args=["nobody"])).status_code == 404


def test_suspending_says_which_keys_stop_and_asks_why(
    console: Client, acme: Tenant, version_moves: VersionMoves
) -> None:
    key, _ = services.key_issue(tenant=acme, name="web", by="tests")

    asked = get(console, SUSPEND, "acme")
    unanswered = console.post(reverse(SUSPEND, args=["acme"]), {"reason": ""})
    still = Tenant.objects.get().status
    with version_moves():
        page = post(console, SUSPEND, {"reason": "They asked."}, "acme")

    assert f"Its active keys stop working until it is resumed: fb_{key.prefix} (web), 1 in all." in asked
    assert (unanswered.status_code, still) == (200, "ACTIVE")
    assert "Suspended acme." in page
    assert Tenant.objects.get().status == "SUSPENDED"
    entry = AuditEntry.objects.get(action="tenant.suspend")
    assert (entry.by, entry.reason) == ("operator", "They asked.")
    assert (entry.before, entry.after) == ({"status": "ACTIVE"}, {"status": "SUSPENDED"})


def test_resuming_takes_its_requests_again(console: Client, acme: Tenant) -> None:
    services.tenant_suspend(tenant=acme, by="tests", reason="a test")

    post(console, RESUME, {"reason": "They paid."}, "acme")

    assert Tenant.objects.get().status == "ACTIVE"
    assert AuditEntry.objects.get(action="tenant.resume").reason == "They paid."


def test_what_is_so_already_is_said_and_not_done_again(console: Client, acme: Tenant) -> None:
    page = get(console, RESUME, "acme")
    console.post(reverse(RESUME, args=["acme"]), {"reason": "To be sure."})

    assert "It is active already." in page
    assert not AuditEntry.objects.filter(action="tenant.resume").exists()


def test_a_tenant_of_which_nothing_is_left_goes_with_its_keys(
    console: Client, acme: Tenant, crux_key: ApiKey, version_moves: VersionMoves
) -> None:
    asked = get(console, DELETE, "crux")
    with version_moves():
        page = post(console, DELETE, {"reason": "They left."}, "crux")

    assert "It has no active key." in asked
    assert "Deleted crux and its keys." in page
    assert [tenant.name for tenant in Tenant.objects.all()] == ["acme"]
    assert not ApiKey.objects.exists()


def hold_by_letter(tenant: Tenant) -> None:
    letter(tenant.name)


def hold_by_ledger(tenant: Tenant) -> None:
    this_minute(tenant.name, received=3, journaled=3, pending=3)


def hold_by_draft(tenant: Tenant) -> None:
    RoutingRule.objects.create(name="theirs", topic="theirs").tenants.add(tenant)


def hold_by_live_rule(tenant: Tenant) -> None:
    hold_by_draft(tenant)
    rule = RoutingRule.objects.get(name="theirs")
    RuleSet.objects.create(number=9, rules=[facts_of_rule(rule)], by="tests", reason="a test")
    rule.delete()


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        (hold_by_letter, "1 open dead letter: replay or discard them."),
        (hold_by_ledger, "3 accepted events not yet delivered"),
        (hold_by_draft, "The draft routing rule theirs names it"),
        (hold_by_live_rule, "The live routing rule theirs names it"),
    ],
)
def test_a_tenant_of_which_something_is_left_stays_and_it_is_said_what(
    console: Client, acme: Tenant, hold: object, words: str
) -> None:
    assert callable(hold)
    hold(acme)

    asked = get(console, DELETE, "acme")
    console.post(reverse(DELETE, args=["acme"]), {"reason": "They left."})

    assert words in asked
    assert "Delete the tenant and its keys" not in asked
    assert Tenant.objects.filter(name="acme").exists()
