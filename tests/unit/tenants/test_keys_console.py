"""API keys in the console: their text is seen once and kept nowhere, and what is dangerous says first what it does."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tenants import api_keys, services
from tenants.models import ApiKey, AuditEntry, Tenant
from tests.unit.tenants.conftest import VersionMoves
from tests.unit.tenants.forms import KEY_FORM, SECRET, get, post

pytestmark = pytest.mark.django_db

LIST, ADD, CHANGE = "admin:tenants_apikey_changelist", "admin:tenants_apikey_add", "admin:tenants_apikey_change"
ROTATE, REVOKE = "admin:tenants_apikey_rotate", "admin:tenants_apikey_revoke"
IN_A_DAY = {"overlap_s": 86_400, "reason": "On schedule."}


def issue(tenant: Tenant, name: str = "web") -> ApiKey:
    return services.key_issue(tenant=tenant, name=name, by="tests")[0]


def test_a_new_key_is_shown_once(console: Client, acme: Tenant) -> None:
    answer = console.post(reverse(ADD), KEY_FORM | {"tenant": acme.pk})
    later = get(console, LIST) + get(console, "console:tenant", "acme")

    [secret] = set(SECRET.findall(answer.content.decode()))
    key = ApiKey.objects.get(digest=api_keys.parse(secret))
    assert (key.tenant, key.scopes, key.allowed_networks) == (acme, ["ingest", "read"], ["10.0.0.0/8", "192.0.2.7/32"])
    assert not SECRET.search(later)
    assert key.prefix in later


def test_the_page_with_a_key_is_kept_by_no_browser_and_in_no_cookie_or_session(console: Client, acme: Tenant) -> None:
    answer = console.post(reverse(ADD), KEY_FORM | {"tenant": acme.pk})

    assert "no-store" in answer["Cache-Control"]
    assert answer.status_code == 200, "a redirect would have to carry the text in its address or a cookie"
    assert not any(SECRET.search(cookie.OutputString()) for cookie in answer.cookies.values())
    assert not any(SECRET.search(str(session.get_decoded())) for session in Session.objects.all())


def test_a_form_that_is_sent_twice_issues_one_key(console: Client, acme: Tenant) -> None:
    console.post(reverse(ADD), KEY_FORM | {"tenant": acme.pk})

    page = post(console, ADD, KEY_FORM | {"tenant": acme.pk})

    assert ApiKey.objects.count() == 1
    assert "This form had issued fb_abcd1234 (web) of acme before" in page
    assert not SECRET.search(page)


def test_a_key_and_its_digest_are_not_in_the_audit_log(console: Client, acme: Tenant) -> None:
    page = console.post(reverse(ADD), KEY_FORM | {"tenant": acme.pk}).content.decode()
    rotated = console.post(reverse(ROTATE, args=[ApiKey.objects.get().pk]), IN_A_DAY).content.decode()

    log = repr(list(AuditEntry.objects.values()))
    for secret in SECRET.findall(page + rotated):
        assert secret[12:] not in log
        assert api_keys.parse(secret).hex() not in log
    actions = list(AuditEntry.objects.filter(action__startswith="key.").values_list("action", "by"))
    assert actions == [("key.rotate", "operator"), ("key.issue", "operator")]


def test_a_changed_key_keeps_its_secret_and_its_tenant(console: Client, acme: Tenant, bolt: Tenant) -> None:
    key = issue(acme)
    digest, prefix = bytes(key.digest), key.prefix

    page = post(console, CHANGE, KEY_FORM | {"tenant": bolt.pk, "name": "mobile"}, key.pk)

    key.refresh_from_db()
    assert (key.name, key.tenant, bytes(key.digest), key.prefix) == ("mobile", acme, digest, prefix)
    assert not SECRET.search(page)
    assert AuditEntry.objects.get(action="apikey.change").reason == "a test"


def test_the_digest_is_neither_shown_nor_editable(console: Client, acme: Tenant) -> None:
    key = issue(acme)
    digest = bytes(key.digest)

    pages = [get(console, CHANGE, key.pk), get(console, LIST), get(console, ADD)]
    post(console, CHANGE, KEY_FORM | {"digest": "0" * 32, "prefix": "zzzzzzzz"}, key.pk)

    key.refresh_from_db()
    assert (bytes(key.digest), key.prefix == "zzzzzzzz") == (digest, False)
    for page in pages:
        assert "digest" not in page.lower()
        assert digest.hex() not in page


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"allowed_networks": "10.0.0.1/8"}, "&#x27;10.0.0.1/8&#x27; is no network"),
        ({"scopes": []}, "This field is required"),
        ({"scopes": ["root"]}, "root is not one of the available choices"),
        ({"burst_events": 5}, "A burst limits nothing without events_per_s"),
    ],
)
def test_a_wrong_key_form_says_what_to_fix(console: Client, acme: Tenant, wrong: dict[str, object], words: str) -> None:
    answer = console.post(reverse(ADD), KEY_FORM | {"tenant": acme.pk} | wrong)

    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_rotating_says_which_key_ends_when_and_then_shows_the_new_one(
    console: Client, acme: Tenant, version_moves: VersionMoves
) -> None:
    key = issue(acme)

    asked = get(console, ROTATE, key.pk)
    with version_moves():
        answer = console.post(reverse(ROTATE, args=[key.pk]), {"overlap_s": 3_600, "reason": "On schedule."})

    key.refresh_from_db()
    [secret] = set(SECRET.findall(answer.content.decode()))
    assert "Both keys work until the old one ends: with 24 hours, at" in asked
    assert ApiKey.objects.get(digest=api_keys.parse(secret)).replaces == key
    assert key.expires_at is not None
    assert key.expires_at - timezone.now() < timedelta(hours=1)
    assert "no-store" in answer["Cache-Control"]


def test_a_key_that_cannot_be_rotated_says_why_and_what_to_do(console: Client, crux_key: ApiKey) -> None:
    asked = get(console, ROTATE, crux_key.pk)
    answer = console.post(reverse(ROTATE, args=[crux_key.pk]), IN_A_DAY)

    assert f"Key fb_{crux_key.prefix} is revoked: issue a new one instead." in asked
    assert "Rotate the key" not in asked
    assert answer.status_code == 200
    assert ApiKey.objects.count() == 1


def test_revoking_says_what_will_be_refused_and_asks_why(
    console: Client, acme: Tenant, version_moves: VersionMoves
) -> None:
    key = issue(acme)
    ApiKey.objects.update(last_used_at=timezone.now())

    asked = get(console, REVOKE, key.pk)
    unanswered = console.post(reverse(REVOKE, args=[key.pk]), {"reason": " "})
    still = ApiKey.objects.get().state
    with version_moves():
        post(console, REVOKE, {"reason": "It leaked."}, key.pk)

    assert "It is the last active key of acme" in asked
    assert "Somebody sends with it now" in asked
    assert (unanswered.status_code, still) == (200, "active")
    assert ApiKey.objects.get().state == "revoked"
    entry = AuditEntry.objects.get(action="key.revoke")
    assert (entry.by, entry.reason) == ("operator", "It leaked.")
    assert (entry.before, entry.after) == ({"state": "active"}, {"state": "revoked"})


def test_revoking_again_changes_nothing(console: Client, crux_key: ApiKey) -> None:
    asked = get(console, REVOKE, crux_key.pk)
    console.post(reverse(REVOKE, args=[crux_key.pk]), {"reason": "Once more."})

    assert "It was revoked before" in asked
    assert AuditEntry.objects.filter(action="key.revoke").count() == 1


@pytest.mark.parametrize("state", ["active", "expired", "revoked"])
def test_keys_are_found_by_state(console: Client, acme: Tenant, crux_key: ApiKey, state: str) -> None:
    past = timezone.now() - timedelta(days=1)
    expired, _ = services.key_issue(tenant=acme, name="old", expires_at=past, by="tests")
    keys = {"active": issue(acme), "expired": expired, "revoked": crux_key}

    page = get(console, LIST, state=state)

    assert {name for name, key in keys.items() if key.prefix in page} == {state}


def test_keys_are_found_by_tenant_without_a_list_of_all_tenants(console: Client, acme: Tenant, bolt: Tenant) -> None:
    key, other = issue(acme), issue(bolt)

    page = get(console, LIST, tenant__id__exact=str(acme.pk))

    assert key.prefix in page
    assert other.prefix not in page
    assert f'<option value="{bolt.pk}"' not in page


def test_a_key_is_found_by_the_text_that_a_tenant_would_quote(console: Client, acme: Tenant) -> None:
    key, other = issue(acme, "web"), issue(acme, "mobile")

    for quoted in (key.prefix, f"fb_{key.prefix}", key.prefix[:5]):
        page = get(console, LIST, q=quoted)

        assert key.prefix in page
        assert other.prefix not in page


def test_a_longer_list_needs_no_more_queries(
    console: Client, acme: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    issue(acme)
    get(console, LIST)
    with CaptureQueriesContext(connection) as short:
        get(console, LIST)
    for number in range(30):
        issue(Tenant.objects.create(name=f"tenant-{number}", plan=acme.plan))

    with django_assert_num_queries(len(short)):
        get(console, LIST)
