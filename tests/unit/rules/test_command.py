"""`manage.py rules`: what the pages do, from a shell."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ingest.models import RoutingRule, RuleSet
from tenants.models import Tenant
from tests.unit.rules.conftest import As
from tests.unit.rules.world import draft, names, publish

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _services(as_: As) -> None:
    """The settings of the pages' tests hold here too."""


def rules(*arguments: Any) -> str:
    out = io.StringIO()
    call_command("rules", *arguments, stdout=out)
    return out.getvalue()


WHY = ("--by", "carol", "--reason", "it is time")


def test_the_draft_and_what_is_live_are_listed() -> None:
    draft("payments", source_glob="pay*")
    publish()
    draft("audit", enabled=False)

    assert "1  payments\n       source pay*\n       -> payments by key_hash; key source" in rules("list")
    assert "audit  (disabled)" in rules("list")
    assert "audit" not in rules("list", "--live")
    assert [rule["name"] for rule in json.loads(rules("list", "--json"))] == ["payments", "audit"]


def test_no_rules_are_said_to_be_none() -> None:
    assert rules("list") == "No rules: the default takes all.\n"
    assert rules("versions") == "Nothing was published yet.\n"
    assert rules("diff") == "Nothing would change.\n"


def test_a_difference_is_told_with_its_warnings() -> None:
    rule = draft("payments")
    publish()
    RoutingRule.objects.filter(pk=rule.pk).update(topic="elsewhere")

    told = rules("diff")

    assert "payments: changed\n    topic: payments -> elsewhere" in told
    assert "warning: payments goes to elsewhere, which the cluster does not have" in told


def test_a_draft_is_published_and_rolled_back() -> None:
    draft("payments")
    rules("publish", *WHY)
    draft("audit")
    rules("publish", "--base", "1", *WHY)

    back = rules("rollback", "1", *WHY)

    assert "Version 3 is published by carol." in back
    assert names() == ["payments"]
    assert "3" in rules("versions").splitlines()[0]
    assert "carol (back to 1): it is time" in rules("versions")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("publish", "--base", "7", *WHY), "Version 1 was published meanwhile"),
        (("publish", "--by", "carol", "--reason", " "), "reason: This field cannot be blank"),
        (("rollback", "9", *WHY), "There is no version 9"),
        (("diff", "9"), "There is no version 9"),
        (("try", "nobody"), "There is no tenant nobody"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: tuple[str, ...], complaint: str) -> None:
    draft("payments")
    publish()
    draft("audit")

    with pytest.raises(CommandError, match=complaint):
        rules(*arguments)

    assert RuleSet.objects.count() == 1


def test_an_event_of_a_file_is_tried(acme: Tenant, tmp_path: Path) -> None:
    draft("bolts", source_glob="bolt-*")
    draft("all", topic="audit")
    file = tmp_path / "event.json"
    file.write_text('{"source":"shop","level":"INFO","message":"m"}')

    told = rules("try", "acme", str(file))

    assert "Live (the default alone): by default\n  topic logs" in told
    assert "Draft: by all\n  topic audit (not verified)" in told
    assert "bolts: source shop is not bolt-*" in told


@pytest.mark.parametrize(("event", "complaint"), [("{", "malformed_json"), (None, "cannot be read")])
def test_an_event_that_is_none_is_one_line(acme: Tenant, tmp_path: Path, event: str | None, complaint: str) -> None:
    file = tmp_path / "event.json"
    if event is not None:
        file.write_text(event)

    with pytest.raises(CommandError, match=complaint):
        rules("try", "acme", str(file))
