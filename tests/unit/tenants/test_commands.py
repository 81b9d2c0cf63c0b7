"""What the commands print, and what they answer when something is wrong."""

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.utils import timezone

from tenants import api_keys, services
from tenants.management.terminal import one_line_errors
from tenants.models import ApiKey, Plan, Tenant

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def run_json(command: str, *arguments: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(run(command, *arguments, "--json"))
    return facts


@pytest.mark.parametrize("command", ["tenant_create", "key_issue", "key_revoke", "key_rotate"])
def test_help_says_what_the_command_does_and_each_option(command: str) -> None:
    parser = load_command_class("tenants", command).create_parser("manage.py", command)

    own = [action for action in parser._actions if action.dest in {"json", "plan", "scopes", "prefix", "overlap_s"}]
    assert parser.description
    assert len(parser.description) > 40
    assert own
    assert all(action.help for action in own)


def test_tenant_create_makes_the_tenant(standard: Plan) -> None:
    out = run("tenant_create", "acme", "--plan", "standard", "--display-name", "Acme Inc.")

    assert out == "Created tenant acme on plan standard.\n"
    assert Tenant.objects.get().display_name == "Acme Inc."
    assert not ApiKey.objects.exists()


def test_tenant_create_issues_a_first_key_and_prints_it(standard: Plan) -> None:
    out = run("tenant_create", "acme", "--issue-key")

    first, second = out.splitlines()
    secret = second.rpartition(" ")[2]
    key = ApiKey.objects.get(digest=api_keys.parse(secret))
    assert first == "Created tenant acme on plan standard."
    assert (key.tenant.name, key.scopes) == ("acme", ["ingest"])


def test_tenant_create_speaks_json_to_scripts(standard: Plan) -> None:
    facts = run_json("tenant_create", "acme", "--issue-key")

    secret = facts["key"]["secret"]
    assert (facts["tenant"], facts["plan"], facts["status"]) == ("acme", "standard", "ACTIVE")
    assert ApiKey.objects.get(digest=api_keys.parse(secret)).prefix == facts["key"]["prefix"]


def test_tenant_create_tells_an_existing_tenant_by_its_exit_code_and_issues_no_key(acme: Tenant) -> None:
    with pytest.raises(CommandError, match="acme exists already") as error:
        run("tenant_create", "acme", "--issue-key")

    assert error.value.returncode == 3
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["Acme"], "name: Use 1 to 63 of a-z, 0-9 and -."),
        (["acme", "--plan", "golden"], "There is no plan golden; the plans are: agent, standard."),
    ],
)
def test_tenant_create_says_in_one_line_what_is_wrong(arguments: list[str], line: str) -> None:
    with pytest.raises(CommandError) as error:
        run("tenant_create", *arguments)

    assert str(error.value) == line
    assert error.value.returncode == 1


def test_key_issue_prints_the_key_once(acme: Tenant) -> None:
    out = run("key_issue", "acme", "--name", "web", "--scopes", "ingest", "read", "--expires-in-days", "30")

    key = ApiKey.objects.get()
    assert f"Issued key fb_{key.prefix} to acme for ingest and read, until {key.expires_at:%Y-%m-%d}" in out
    assert out.count(f"fb_{key.prefix}_") == 1
    assert api_keys.parse(out.split()[-1]) == key.digest


def test_key_issue_takes_networks_expiry_and_limits(acme: Tenant) -> None:
    facts = run_json(
        "key_issue", "acme", "--allow", "10.0.0.0/8", "::1", "--allow", "192.0.2.7", "--expires-in-days", "30",
        "--events-per-s", "50", "--burst-events", "100", "--events-per-day", "1000",
    )  # fmt: skip

    key = ApiKey.objects.get(digest=api_keys.parse(facts["secret"]))
    lifetime = datetime.fromisoformat(facts["expires_at"]) - timezone.now()
    assert key.allowed_networks == facts["allowed_networks"] == ["10.0.0.0/8", "::1/128", "192.0.2.7/32"]
    assert timedelta(days=29) < lifetime < timedelta(days=31)
    assert (key.events_per_s, key.burst_events, key.events_per_day, key.bytes_per_s) == (50, 100, 1000, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "There is no tenant nobody: `manage.py tenant_create nobody`"),
        (["acme", "--scopes", "root"], "invalid choice: 'root'"),
        (["acme", "--allow", "10.0.0.1/8"], "allowed_networks: '10.0.0.1/8' is no network"),
        (["acme", "--expires-in-days", "0"], "1 to 36500"),
        (["acme", "--expires-in-days", "99999999999"], "1 to 36500"),
        (["acme", "--expires-in-days", "soon"], "'soon' is not a whole number"),
        (["acme", "--events-per-s", "-5"], "'-5' is not a whole number"),
        (["acme", "--burst-bytes", "5"], "burst_bytes: A burst limits nothing without bytes_per_s"),
    ],
)
def test_key_issue_says_in_one_line_what_is_wrong(acme: Tenant, arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError) as error:
        run("key_issue", *arguments)

    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not ApiKey.objects.exists()


def test_key_revoke_revokes_by_prefix_and_says_so_when_it_was_revoked_before(acme: Tenant) -> None:
    key, _ = services.key_issue(tenant=acme, name="web", by="tests")

    first = run("key_revoke", key.prefix)
    again = run("key_revoke", f"fb_{key.prefix}")

    key.refresh_from_db()
    assert key.state == "revoked"
    assert first == f"Revoked key fb_{key.prefix} (web) of acme.\n"
    assert again.startswith(f"Key fb_{key.prefix} was revoked before, on ")


def test_key_revoke_tells_scripts_whether_it_changed_anything(acme: Tenant) -> None:
    key, _ = services.key_issue(tenant=acme, name="web", by="tests")

    first, again = run_json("key_revoke", key.prefix), run_json("key_revoke", key.prefix)

    assert (first["changed"], again["changed"]) == (True, False)
    assert first["revoked_at"] == again["revoked_at"]


@pytest.mark.parametrize("command", ["key_revoke", "key_rotate"])
def test_an_unknown_prefix_is_not_repeated_because_it_may_be_a_secret(command: str, acme: Tenant) -> None:
    typed = "fb_ab12cd34_" + "s" * 42

    with pytest.raises(CommandError, match="No key has this prefix") as error:
        run(command, typed)

    assert "sss" not in str(error.value)


def test_key_rotate_prints_the_successor_and_when_the_old_key_ends(acme: Tenant) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", by="tests")

    out = run("key_rotate", old.prefix, "--overlap-s", "600")

    old.refresh_from_db()
    new = ApiKey.objects.get(replaces=old)
    assert old.expires_at is not None
    assert f"fb_{old.prefix} to fb_{new.prefix}; the old one works until {old.expires_at:%Y-%m-%d %H:%M:%S} UTC" in out
    assert api_keys.parse(out.split()[-1]) == new.digest


def test_key_rotate_speaks_json_to_scripts(acme: Tenant) -> None:
    old, _ = services.key_issue(tenant=acme, name="web", by="tests")

    facts = run_json("key_rotate", old.prefix)

    old.refresh_from_db()
    assert old.expires_at is not None
    assert facts["replaces"] == {"prefix": old.prefix, "expires_at": old.expires_at.isoformat()}
    assert ApiKey.objects.get(digest=api_keys.parse(facts["secret"])).replaces == old


def test_key_rotate_of_a_revoked_key_is_one_line(crux_key: ApiKey) -> None:
    with pytest.raises(CommandError, match=f"Key fb_{crux_key.prefix} is revoked: issue a new one instead."):
        run("key_rotate", crux_key.prefix)


def test_a_database_that_was_not_migrated_is_one_line_that_says_what_to_run(standard: Plan) -> None:
    with pytest.raises(CommandError, match=r"no_such_table.*manage\.py migrate") as error, one_line_errors():
        list(Plan.objects.raw("SELECT * FROM no_such_table"))

    assert "\n" not in str(error.value)
