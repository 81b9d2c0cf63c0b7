"""Operators' words: kept with who and why, carried in the snapshot, spoken by commands and in the console."""

import html
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingest import snapshot
from ingest.dataplane.policy import OverridePolicy, load
from ingest.models import Override, OverrideKind
from ingest.overrides import OverrideRefused, override_add
from tenants import services
from tenants.models import AuditEntry, ControlPlaneVersion, Plan, Tenant

pytestmark = pytest.mark.django_db

NOBODY_LISTENS = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def acme(settings: Settings) -> None:
    settings.FOREBAY_REDIS_URL = NOBODY_LISTENS
    Plan.objects.get_or_create(name="standard")
    services.tenant_create(name="acme", by="tests")


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def carried() -> list[OverridePolicy]:
    return list(load(snapshot.build(())).header.overrides)


def say(kind: OverrideKind, topic: str = "", tenant: str = "", reason: str = "they know why") -> Override:
    return override_add(kind=kind, topic=topic, tenant=tenant, by="operator", reason=reason)


# --- the table and the snapshot --------------------------------------------------------------------------------------
def test_the_snapshot_carries_the_newest_word_for_each_place() -> None:
    say(OverrideKind.FORCED_OPEN)
    say(OverrideKind.DISABLED, "logs")
    say(OverrideKind.PARKED, "logs", "acme")
    last = say(OverrideKind.RESET, reason="it is well")

    words = carried()

    assert [(word.kind, word.topic, word.tenant) for word in words] == [
        ("DISABLED", "logs", ""),
        ("PARKED", "logs", "acme"),
        ("RESET", "", ""),
    ]
    assert (words[-1].number, words[-1].by, words[-1].reason) == (last.pk, "operator", "it is well")


def test_each_word_is_in_the_audit_log_with_what_was_known_before() -> None:
    say(OverrideKind.PARKED, "logs", "acme")

    line = AuditEntry.objects.get(action="override.park")
    assert (line.by, line.target, line.reason) == ("operator", "acme's events for topic logs", "they know why")
    assert (line.before, line.after) == ({"state": "unknown: Redis did not answer"}, {"state": "PARKED"})


def test_a_word_that_holds_is_not_said_twice() -> None:
    say(OverrideKind.FORCED_OPEN, reason="brokers are moved")

    with pytest.raises(OverrideRefused, match=r"said already: FORCED_OPEN for the cluster, by operator at .* moved"):
        say(OverrideKind.FORCED_OPEN)
    say(OverrideKind.FORCED_OPEN, "logs")
    say(OverrideKind.RESET, "logs")
    say(OverrideKind.RESET, "logs", reason="it has opened by itself again")

    assert [(word.kind, word.topic) for word in Override.objects.order_by("pk")] == [
        ("FORCED_OPEN", ""),
        ("FORCED_OPEN", "logs"),
        ("RESET", "logs"),
        ("RESET", "logs"),
    ]


def test_what_was_before_is_what_was_said_last_whatever_the_workers_tell_yet() -> None:
    say(OverrideKind.FORCED_OPEN)
    say(OverrideKind.DISABLED)
    say(OverrideKind.RESET)

    lines = AuditEntry.objects.filter(action__startswith="override.").order_by("pk")
    assert [(line.before, line.after) for line in lines] == [
        ({"state": "unknown: Redis did not answer"}, {"state": "FORCED_OPEN"}),
        ({"state": "FORCED_OPEN"}, {"state": "DISABLED"}),
        ({"state": "DISABLED"}, {"state": "CLOSED"}),
    ]


def test_a_command_that_says_it_again_says_so() -> None:
    words = ("breaker", "force-open", "--by", "operator", "--reason", "brokers are being moved")
    run(*words)

    with pytest.raises(CommandError, match="said already"):
        run(*words)


def test_each_word_moves_the_control_planes_version() -> None:
    before = ControlPlaneVersion.current()

    say(OverrideKind.FORCED_OPEN)

    assert ControlPlaneVersion.current() > before


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "FORCED_OPEN", "by": " "}, "by"),
        ({"kind": "FORCED_OPEN", "reason": ""}, "reason"),
        ({"kind": "FORCED_OPEN", "tenant": "acme", "topic": "logs"}, "tenant"),
        ({"kind": "RESET", "topic": "no topic"}, "topic"),
        ({"kind": "PARKED", "topic": "logs"}, "__all__"),
        ({"kind": "PARKED", "tenant": "acme"}, "__all__"),
        ({"kind": "PARKED", "tenant": "nobody", "topic": "logs"}, "tenant"),
    ],
)
def test_a_word_without_who_why_or_a_place_of_its_kind_is_refused(fields: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError) as refused:
        override_add(**({"by": "operator", "reason": "they know why"} | fields))  # type: ignore[arg-type]  # texts

    assert list(refused.value.message_dict) == [complaint]
    assert not Override.objects.exists()


def test_what_a_tenant_that_is_gone_has_left_parked_can_be_resumed() -> None:
    services.tenant_create(name="bolt", by="tests")
    say(OverrideKind.PARKED, "logs", "bolt")
    Tenant.objects.filter(name="bolt").delete()

    say(OverrideKind.RESUMED, "logs", "bolt")

    assert [(word.kind, word.tenant) for word in carried()] == [("RESUMED", "bolt")]


# --- the commands ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "kind", "answer"),
    [
        (("breaker", "force-open"), "FORCED_OPEN", "FORCED_OPEN for the cluster, by operator."),
        (("breaker", "disable", "--topic", "logs"), "DISABLED", "DISABLED for topic logs, by operator."),
        (("breaker", "reset"), "RESET", "RESET for the cluster, by operator."),
        (("topic", "park", "acme", "logs"), "PARKED", "PARKED acme's events for topic logs, by operator."),
        (("topic", "resume", "acme", "logs"), "RESUMED", "RESUMED acme's events for topic logs, by operator."),
    ],
)
def test_a_command_says_the_word_with_who_and_why(words: tuple[str, ...], kind: str, answer: str) -> None:
    out = run(*words, "--by", "operator", "--reason", "brokers are being moved")

    (word,) = Override.objects.all()
    assert (word.kind, word.by, word.reason) == (kind, "operator", "brokers are being moved")
    assert out == f"{answer} Workers follow within a second.\n"


def test_a_command_without_a_reason_says_nothing() -> None:
    with pytest.raises(CommandError, match="--reason"):
        run("breaker", "force-open")

    assert not Override.objects.exists()


def test_a_tenant_that_is_none_is_one_line() -> None:
    with pytest.raises(CommandError, match=r"There is no tenant nobody\."):
        run("topic", "park", "nobody", "logs", "--reason", "a slip", "--by", "operator")


@pytest.mark.parametrize("words", [("breaker", "status"), ("topic", "parked")])
def test_what_the_workers_say_is_missing_in_one_line_while_redis_is_away(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="Redis does not answer, and what the workers say is there") as error:
        run(*words)

    assert "\n" not in str(error.value)


# --- the console -----------------------------------------------------------------------------------------------------
@pytest.fixture
def console(client: Client, settings: Settings, tmp_path: Path) -> Client:
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    client.force_login(get_user_model().objects.create_superuser("operator"))
    return client


def test_a_word_can_neither_be_changed_nor_taken_back(console: Client) -> None:
    word = say(OverrideKind.FORCED_OPEN)

    changed = console.post(reverse("admin:ingest_override_change", args=[word.pk]), {"reason": "another"})
    deleted = console.post(reverse("admin:ingest_override_delete", args=[word.pk]), {"post": "yes"})

    assert (changed.status_code, deleted.status_code) == (403, 403)
    assert Override.objects.get().reason == "they know why"


def test_the_history_shows_what_was_said_and_leads_to_where_more_can_be(console: Client) -> None:
    say(OverrideKind.FORCED_OPEN)

    page = html.unescape(console.get(reverse("admin:ingest_override_changelist")).content.decode())
    added = console.get(reverse("admin:ingest_override_add"))

    assert "they know why" in page
    assert reverse("console:breakers") in page
    assert added.status_code == 403
