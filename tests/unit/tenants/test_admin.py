"""The operators' console: what it shows, what it never shows, and that each of its writes moves the version."""

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tenants import api_keys, services
from tenants.models import ApiKey, Plan, Tenant, TenantStatus
from tests.unit.tenants.conftest import VersionMoves

pytestmark = pytest.mark.django_db
SECRET = re.compile(r"fb_[a-z0-9]{8}_[A-Za-z0-9_-]{43}")

KEY_FORM = {
    "name": "web",
    "scopes": ["ingest", "read"],
    "allowed_networks": "10.0.0.0/8\n192.0.2.7\n",
    "events_per_s": 0,
    "burst_events": 0,
    "bytes_per_s": 0,
    "burst_bytes": 0,
    "events_per_day": 0,
}
NO_KEYS = {"api_keys-TOTAL_FORMS": 0, "api_keys-INITIAL_FORMS": 0}


def post(console: Client, page: str, form: dict[str, object], *args: int) -> str:
    """The page that follows a form that was taken; one that was refused fails here."""
    answer = console.post(reverse(f"admin:tenants_{page}", args=args), form, follow=True)
    assert answer.redirect_chain, answer.content.decode()
    return html.unescape(answer.content.decode())


def act(console: Client, model: str, action: str, *pks: int) -> str:
    return post(console, f"{model}_changelist", {"action": action, "_selected_action": pks})


def get(console: Client, page: str, *args: int, **query: str) -> str:
    answer = console.get(reverse(f"admin:tenants_{page}", args=args), query)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def issue(tenant: Tenant, name: str = "web") -> ApiKey:
    return services.key_issue(tenant=tenant, name=name)[0]


def test_saving_a_form_moves_the_version(console: Client, acme: Tenant, version_moves: VersionMoves) -> None:
    limits = {field: 0 for field in KEY_FORM if field.endswith(("_per_s", "_events", "_bytes", "_per_day"))}
    plan = {"name": "golden", **limits, "requests_per_s_per_address": 5, "quarantine": "off"}
    tenant = {"name": "dora", "plan": acme.plan_id, "status": "ACTIVE", "default_delivery": "async"}
    key = issue(acme)

    with version_moves():
        post(console, "plan_add", plan)
    with version_moves():
        post(console, "plan_change", plan | {"events_per_s": 9}, Plan.objects.get(name="golden").pk)
    with version_moves():
        post(console, "tenant_add", tenant | NO_KEYS)
    with version_moves():
        post(console, "tenant_change", tenant | NO_KEYS | {"status": "SUSPENDED"}, acme.pk)
    with version_moves():
        post(console, "apikey_add", KEY_FORM | {"tenant": acme.pk})
    with version_moves():
        post(console, "apikey_change", KEY_FORM, key.pk)


@pytest.mark.django_db(transaction=True)
def test_actions_and_deletions_move_the_version_in_their_own_transaction(
    console: Client, acme: Tenant, version_moves: VersionMoves
) -> None:
    # Without a test's transaction around them, a version that moves outside of the write's own one is an error.
    key, other = issue(acme), issue(acme, "other")
    plan = Plan.objects.create(name="golden")

    for model, action, pk in (
        ("tenant", "suspend", acme.pk),
        ("tenant", "resume", acme.pk),
        ("apikey", "rotate", key.pk),
        ("apikey", "revoke", key.pk),
    ):
        with version_moves():
            act(console, model, action, pk)
    with version_moves():
        post(console, "apikey_changelist", {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"})
    with version_moves():
        post(console, "apikey_delete", {"post": "yes"}, other.pk)
    with version_moves():
        post(console, "plan_delete", {"post": "yes"}, plan.pk)
    with version_moves():
        post(console, "tenant_delete", {"post": "yes"}, acme.pk)

    assert not Tenant.objects.exists()
    assert not ApiKey.objects.exists()


def test_a_new_key_is_shown_once(console: Client, acme: Tenant) -> None:
    page = post(console, "apikey_add", KEY_FORM | {"tenant": acme.pk})
    next_page = get(console, "apikey_changelist")

    [secret] = SECRET.findall(page)
    key = ApiKey.objects.get(digest=api_keys.parse(secret))
    assert (key.tenant, key.scopes, key.allowed_networks) == (acme, ["ingest", "read"], ["10.0.0.0/8", "192.0.2.7/32"])
    assert not SECRET.search(next_page)
    assert key.prefix in next_page


def test_a_changed_key_keeps_its_secret_and_its_tenant(console: Client, acme: Tenant, bolt: Tenant) -> None:
    key = issue(acme)
    digest, prefix = bytes(key.digest), key.prefix

    page = post(console, "apikey_change", KEY_FORM | {"tenant": bolt.pk, "name": "mobile"}, key.pk)

    key.refresh_from_db()
    assert (key.name, key.tenant, bytes(key.digest), key.prefix) == ("mobile", acme, digest, prefix)
    assert not SECRET.search(page)


def test_the_digest_is_neither_shown_nor_editable(console: Client, acme: Tenant) -> None:
    key = issue(acme)
    digest = bytes(key.digest)

    pages = [get(console, "apikey_change", key.pk), get(console, "apikey_changelist"), get(console, "apikey_add")]
    post(console, "apikey_change", KEY_FORM | {"digest": "0" * 32, "prefix": "zzzzzzzz"}, key.pk)

    key.refresh_from_db()
    assert (bytes(key.digest), key.prefix == "zzzzzzzz") == (digest, False)
    for page in pages:
        assert "digest" not in page.lower()
        assert digest.hex() not in page


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"allowed_networks": "10.0.0.1/8"}, "'10.0.0.1/8' is no network"),
        ({"scopes": []}, "This field is required"),
        ({"scopes": ["root"]}, "root is not one of the available choices"),
        ({"burst_events": 5}, "A burst limits nothing without events_per_s"),
    ],
)
def test_a_wrong_key_form_says_what_to_fix(console: Client, acme: Tenant, wrong: dict[str, object], words: str) -> None:
    answer = console.post(reverse("admin:tenants_apikey_add"), KEY_FORM | {"tenant": acme.pk} | wrong)

    assert answer.status_code == 200
    assert words in html.unescape(answer.content.decode())
    assert not ApiKey.objects.exists()


def test_rotate_shows_the_successor_and_names_the_key_that_cannot(
    console: Client, acme: Tenant, crux_key: ApiKey
) -> None:
    key = issue(acme)

    page = act(console, "apikey", "rotate", key.pk, crux_key.pk)

    [secret] = SECRET.findall(page)
    assert ApiKey.objects.get(digest=api_keys.parse(secret)).replaces == key
    assert f"Key fb_{crux_key.prefix} is revoked" in page


def test_revoke_takes_every_selected_key_and_leaves_a_line_in_its_history(console: Client, acme: Tenant) -> None:
    keys = [issue(acme, "web"), issue(acme, "mobile")]

    act(console, "apikey", "revoke", *(key.pk for key in keys))

    assert {key.state for key in ApiKey.objects.all()} == {"revoked"}
    assert "Revoked." in console.get(reverse("admin:tenants_apikey_history", args=[keys[0].pk])).content.decode()


def test_suspend_and_resume_take_every_selected_tenant(console: Client, acme: Tenant, bolt: Tenant) -> None:
    act(console, "tenant", "suspend", acme.pk, bolt.pk)
    suspended = set(Tenant.objects.values_list("status", flat=True))

    act(console, "tenant", "resume", acme.pk)

    acme.refresh_from_db()
    assert suspended == {TenantStatus.SUSPENDED}
    assert acme.status == TenantStatus.ACTIVE


def test_a_tenants_name_cannot_be_changed_and_its_keys_are_listed_to_look_at(console: Client, acme: Tenant) -> None:
    key = issue(acme)
    form = {"name": "other", "plan": acme.plan_id, "status": "ACTIVE", "default_delivery": "ack"}

    page = get(console, "tenant_change", acme.pk)
    post(console, "tenant_change", form | NO_KEYS, acme.pk)

    acme.refresh_from_db()
    assert (acme.name, acme.default_delivery) == ("acme", "ack")
    assert key.prefix in page
    assert 'name="api_keys-0-name"' not in page


@pytest.mark.parametrize("state", ["active", "expired", "revoked"])
def test_keys_are_found_by_state(console: Client, acme: Tenant, crux_key: ApiKey, state: str) -> None:
    expired, _ = services.key_issue(tenant=acme, name="old", expires_at=timezone.now() - timedelta(days=1))
    keys = {"active": issue(acme), "expired": expired, "revoked": crux_key}

    page = get(console, "apikey_changelist", state=state)

    assert {name for name, key in keys.items() if key.prefix in page} == {state}


def test_a_key_is_found_by_the_text_that_a_tenant_would_quote(console: Client, acme: Tenant) -> None:
    key, other = issue(acme, "web"), issue(acme, "mobile")

    for quoted in (key.prefix, f"fb_{key.prefix}"):
        page = get(console, "apikey_changelist", q=quoted)

        assert key.prefix in page
        assert other.prefix not in page


@pytest.mark.parametrize("page", ["plan_changelist", "tenant_changelist", "apikey_changelist"])
def test_a_longer_list_needs_no_more_queries(
    console: Client, acme: Tenant, page: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    issue(acme)
    with CaptureQueriesContext(connection) as short:
        get(console, page)
    for number in range(10):
        plan = Plan.objects.create(name=f"plan-{number}")
        tenant = Tenant.objects.create(name=f"tenant-{number}", plan=plan)
        issue(tenant)

    with django_assert_num_queries(len(short)):
        get(console, page)
