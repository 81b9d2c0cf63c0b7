"""The pages of routing rules: each shows what it would do before it does it, and to those who may do it."""

import html
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from ingest.models import RoutingRule, RuleSet
from ingest.rule_sets import rules_publish
from tenants.models import AuditEntry, Tenant
from tests.unit.rules.conftest import As
from tests.unit.rules.world import draft, names, publish

pytestmark = pytest.mark.django_db

EDITOR = "routing editor"


def text(answer: Any) -> str:
    """What a person reads, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", html.unescape(answer.content.decode())).split())


def url(name: str, *arguments: object) -> str:
    return reverse(f"console:{name}", args=arguments)


def hidden(client: Client, page: str) -> dict[str, str]:
    """What the form of a page carries beside the reason."""
    found = re.findall(
        r'<input type="hidden" name="(base_number|digest)" value="([^"]*)"', client.get(page).content.decode()
    )
    return dict(found)


# --- the draft -------------------------------------------------------------------------------------------------------
def test_an_empty_page_says_what_to_do(as_: As) -> None:
    page = text(as_(EDITOR).get(url("rules")))

    assert "No rules are live" in page
    assert "add the first" in page
    assert "logs by severity_first; key source" in page


def test_the_draft_is_listed_in_words_with_what_is_to_be_said_of_each_rule(as_: As, acme: Tenant) -> None:
    draft("drop-debug", acme, levels=["TRACE", "DEBUG"], drop_reason="debug")
    publish()
    draft("web", source_glob="web-*", delivery="ack", keep_ratio=0.1)
    draft("rest", partitioning="round_robin", key=[])
    draft("never", enabled=False)
    draft("after-all", key=["timestamp"])

    page = text(as_("viewer").get(url("rules")))

    for phrase in (
        "Live: version 1 Published by carol",
        "4 changes",
        "TRACE, DEBUG; of acme",
        "nowhere: dropped as debug",
        "source web-*",
        "web by key_hash; key source; ack; 0.1 of it",
        "rest by round_robin; no key",
        "never disabled new",
        "after-all new shadowed timestamp key topic",
        "after-all never matches anything: rest, before it, takes all that it would match.",
    ):
        assert phrase in page


def test_a_draft_that_is_live_says_so(as_: As) -> None:
    draft("payments")
    publish()

    assert "The draft is what is live." in text(as_("viewer").get(url("rules")))


def test_redis_away_is_said_and_the_page_is_there(as_: As) -> None:
    draft("payments")
    publish()

    assert "Redis is away" in text(as_("viewer").get(url("rules")))


def test_a_rule_is_moved_and_switched_from_the_list(as_: As) -> None:
    first, second = draft("first"), draft("second")
    editor = as_(EDITOR)

    moved = editor.post(url("rules_move", second.pk), {"place": "1"})
    editor.post(url("rules_enable", first.pk), {"enabled": "0"})

    assert moved.headers["Location"] == url("rules")
    assert names() == ["second", "first"]
    assert not RoutingRule.objects.get(name="first").enabled
    assert set(AuditEntry.objects.values_list("by", flat=True)) == {"routing"}


@pytest.mark.parametrize("place", ["", "x", "-1", "²"])
def test_a_place_that_is_none_moves_nothing(as_: As, place: str) -> None:
    draft("first")
    second = draft("second")

    page = as_(EDITOR).post(url("rules_move", second.pk), {"place": place}, follow=True)

    assert "A place is a number" in text(page)
    assert names() == ["first", "second"]


def test_a_rule_that_somebody_has_deleted_is_said_to_be_gone(as_: As) -> None:
    editor = as_(EDITOR)

    assert "not in the draft any more" in text(editor.post(url("rules_move", 99), {"place": "1"}, follow=True))
    assert "not in the draft any more" in text(editor.post(url("rules_enable", 99), {"enabled": "1"}, follow=True))


# --- publish ---------------------------------------------------------------------------------------------------------
def test_publishing_shows_the_difference_and_the_warnings_and_asks_why(as_: As) -> None:
    rule = draft("payments")
    publish()
    RoutingRule.objects.filter(pk=rule.pk).update(topic="elsewhere")

    page = text(as_(EDITOR).get(url("rules_publish")))

    assert "Publish version 2" in page
    assert "topic payments elsewhere" in page
    assert "goes to elsewhere, which the cluster does not have: it will be created with 12 partitions." in page
    assert "Why" in page


def test_what_was_shown_is_published_and_its_version_shown(as_: As) -> None:
    draft("payments")
    editor = as_(EDITOR)

    answer = editor.post(url("rules_publish"), hidden(editor, url("rules_publish")) | {"reason": "it is time"})

    made = RuleSet.objects.get()
    assert answer.headers["Location"] == url("rules_version", 1)
    assert (made.number, made.by, made.reason) == (1, "routing", "it is time")
    assert "This version is live" in text(editor.get(url("rules_version", 1)))


def test_without_a_reason_nothing_is_published(as_: As) -> None:
    draft("payments")
    editor = as_(EDITOR)

    answer = editor.post(url("rules_publish"), hidden(editor, url("rules_publish")) | {"reason": " "})

    assert "This field is required" in text(answer)
    assert not RuleSet.objects.exists()


def test_what_has_changed_since_is_shown_before_it_is_published(as_: As) -> None:
    draft("payments")
    editor = as_(EDITOR)
    seen = hidden(editor, url("rules_publish"))
    draft("audit")

    refused = editor.post(url("rules_publish"), seen | {"reason": "it is time"})
    shown = dict(re.findall(r'name="(base_number|digest)" value="([^"]*)"', refused.content.decode()))
    accepted = editor.post(url("rules_publish"), shown | {"reason": "it is time"})

    assert "The draft has changed since you looked" in text(refused)
    assert "audit" in text(refused)
    assert 'value="it is time"' in refused.content.decode()
    assert accepted.status_code == 302


def test_what_somebody_else_published_meanwhile_is_shown(as_: As) -> None:
    draft("payments")
    publish()
    draft("audit")
    editor = as_(EDITOR)
    seen = hidden(editor, url("rules_publish"))
    rules_publish(by="bob", reason="mine")
    draft("more")
    seen["digest"] = hidden(editor, url("rules_publish"))["digest"]

    refused = editor.post(url("rules_publish"), seen | {"reason": "it is time"})

    assert "Version 2 was published meanwhile by bob" in text(refused)


def test_a_draft_that_is_live_is_not_offered_for_publishing(as_: As) -> None:
    draft("payments")
    publish()

    page = as_(EDITOR).get(url("rules_publish"))

    assert "there is nothing to publish" in text(page)
    assert 'name="reason"' not in page.content.decode()


def test_publishing_goes_on_while_kafka_is_away(as_: As, settings: Settings) -> None:
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    draft("payments")

    page = text(as_(EDITOR).get(url("rules_publish")))

    assert "payments goes to payments, which is not verified" in page


# --- versions --------------------------------------------------------------------------------------------------------
def test_versions_say_who_when_why_and_what_changed(as_: As) -> None:
    draft("payments")
    publish("the first")
    draft("audit")
    publish("the second")

    page = text(as_(EDITOR).get(url("rules_versions")))

    assert re.search(r"2 live \d{4}-\d\d-\d\d \d\d:\d\d:\d\d carol the second audit added live", page)
    assert "carol the first payments added Roll back to 1" in page


def test_a_version_shows_its_difference_and_its_rules(as_: As) -> None:
    draft("payments")
    publish("the first")
    RoutingRule.objects.update(levels=["ERROR"])
    publish("the second")

    page = text(as_("viewer").get(url("rules_version", 2)))

    assert "What it changed of version 1" in page
    assert "levels every level ERROR" in page
    assert "payments by key_hash" in page


def test_a_rollback_shows_what_it_changes_and_what_is_lost_and_then_does_it(as_: As, acme: Tenant) -> None:
    draft("acmes", acme)
    draft("payments")
    publish()
    RoutingRule.objects.filter(name="payments").update(topic="elsewhere")
    publish()
    draft("unpublished")
    RoutingRule.objects.filter(name="acmes").delete()
    acme.delete()
    editor = as_(EDITOR)
    page = url("rules_roll_back", 1)

    shown = text(editor.get(page))
    answer = editor.post(page, hidden(editor, page) | {"reason": "elsewhere was wrong"})

    assert "topic elsewhere payments" in shown
    assert "left out, or they would be everybody's: acmes" in shown
    assert "Its 2 changes that are not published will be lost: unpublished is added acmes is removed" in shown
    assert answer.headers["Location"] == url("rules_version", 3)
    assert RuleSet.objects.get(number=3).restores == 1
    assert names() == ["payments"]


def test_a_draft_is_discarded_after_it_was_shown_what_is_lost(as_: As) -> None:
    draft("payments")
    publish()
    draft("unpublished")
    editor = as_(EDITOR)

    shown = text(editor.get(url("rules_discard")))
    editor.post(url("rules_discard"), hidden(editor, url("rules_discard")) | {"reason": "was a try"})

    assert "removed unpublished" in shown
    assert names() == ["payments"]


@pytest.mark.parametrize("name", ["rules_version", "rules_roll_back"])
@pytest.mark.parametrize("number", [9, 2**40])
def test_a_version_that_never_was_leads_to_those_that_are(as_: As, name: str, number: int) -> None:
    page = as_(EDITOR).get(url(name, number), follow=True)

    assert f"There is no version {number}" in text(page)


def test_nothing_published_says_how_to_begin(as_: As) -> None:
    assert "Nothing was published yet. Make a draft" in text(as_("viewer").get(url("rules_versions")))


# --- try it ----------------------------------------------------------------------------------------------------------
def test_an_event_is_tried_by_whoever_may_look(as_: As, acme: Tenant) -> None:
    draft("bolts", source_glob="bolt-*")
    draft("all", topic="audit", key=["source", "level"])

    page = text(
        as_("viewer").post(
            url("rules_try"),
            {"tenant": "acme", "event": '{"source":"shop","level":"warn","message":"m"}', "what": "event"},
        )
    )

    assert "The draft sends this event another way" in page
    assert "bolts no: source shop is not bolt-* all yes" in page
    assert "topic audit not verified" in page
    assert "key shop + WARN" in page
    assert not RuleSet.objects.exists()


def test_a_bad_event_is_answered_as_the_api_would(as_: As, acme: Tenant) -> None:
    page = text(as_("viewer").post(url("rules_try"), {"tenant": "acme", "event": '{"source":"shop"}', "what": "event"}))

    assert "This event is not accepted: missing_field" in page
    assert "level" in page


def test_a_tenant_that_is_none_is_said_and_the_event_stays(as_: As) -> None:
    answer = as_("viewer").post(url("rules_try"), {"tenant": "nobody", "event": '{"source":"my-own"}', "what": "event"})

    assert "There is no tenant nobody." in text(answer)
    assert "my-own" in text(answer)


def test_recent_traffic_without_redis_is_said(as_: As, acme: Tenant) -> None:
    page = text(as_("viewer").post(url("rules_try"), {"tenant": "acme", "event": "", "what": "recent"}))

    assert "Redis is away" in page


# --- who may ---------------------------------------------------------------------------------------------------------
CHANGES = [
    ("rules_move", {"place": "1"}),
    ("rules_enable", {"enabled": "0"}),
    ("rules_publish", {"reason": "r"}),
    ("rules_discard", {"reason": "r"}),
    ("rules_roll_back", {"reason": "r"}),
]


@pytest.mark.parametrize(("name", "form"), CHANGES)
@pytest.mark.parametrize("role", ["viewer", "operator", "tenant manager"])
def test_others_than_routing_editors_change_nothing(as_: As, role: str, name: str, form: dict[str, str]) -> None:
    rule = draft("payments")
    publish()
    draft("unpublished")
    arguments = {"rules_move": [rule.pk], "rules_enable": [rule.pk], "rules_roll_back": [1]}.get(name, [])

    answer = as_(role).post(url(name, *arguments), form)

    assert answer.status_code == 403
    assert names() == ["payments", "unpublished"]
    assert RuleSet.objects.count() == 1


def test_a_viewer_sees_no_button_that_is_not_for_them(as_: As) -> None:
    draft("payments")
    publish()
    draft("unpublished")
    publish()
    draft("more")
    viewer = as_("viewer")

    pages = "".join(
        text(viewer.get(url(name, *args)))
        for name, args in (
            ("rules", []),
            ("rules_versions", []),
            ("rules_version", [1]),
        )
    )

    for button in ("Add a rule", "publish", "Discard", "Move", "Disable", "Edit", "Delete", "Roll back"):
        assert not re.search(rf"\b{button}\b", pages.replace("until it is published", ""))


@pytest.mark.parametrize("name", ["rules_move", "rules_enable"])
def test_looking_changes_nothing(as_: As, name: str) -> None:
    rule = draft("payments")

    assert as_(EDITOR).get(url(name, rule.pk)).status_code == 405


# --- large -----------------------------------------------------------------------------------------------------------
def test_more_rules_and_versions_take_no_more_queries(as_: As, acme: Tenant) -> None:
    def queries(client: Client) -> list[int]:
        counts = []
        for page in (url("rules"), url("rules_versions"), url("rules_version", 2), url("rules_publish")):
            with CaptureQueriesContext(
                connection,
            ) as captured:
                assert client.get(page).status_code == 200
            counts.append(len(captured))
        return counts

    editor = as_(EDITOR)
    for number in range(3):
        draft(f"rule-{number}", acme)
        publish()
    draft("unpublished", acme)
    few = queries(editor)
    for number in range(3, 40):
        draft(f"rule-{number}", acme)
        publish()
    draft("unpublished-too", acme)

    assert queries(editor) == few
