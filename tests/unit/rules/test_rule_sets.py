"""A draft becomes live when it is published and not before; every version can be had again; all of it is on record."""

import pytest
from django.core.exceptions import ValidationError

from ingest import rule_sets, snapshot
from ingest.models import RoutingRule, RuleSet
from ingest.rule_sets import RulesRefused, draft_discard, rule_enable, rules_publish, rules_reorder, rules_roll_back
from ingest.rules.facts import digest_of
from tenants.models import AuditEntry, ControlPlaneVersion, Tenant
from tests.unit.rules.world import draft, names, publish

pytestmark = pytest.mark.django_db


def moved(version: int) -> bool:
    return ControlPlaneVersion.current() > version


# --- publishing ------------------------------------------------------------------------------------------------------
def test_the_draft_is_live_once_it_is_published_and_not_before(acme: Tenant) -> None:
    rule = draft("payments", acme, source_glob="pay*")
    before = (rule_sets.live_rules(), snapshot.topic_names())

    version = ControlPlaneVersion.current()
    made = rules_publish(by="carol", reason="payments have a topic of their own", base_number=0)

    (live,) = rule_sets.live_rules()
    assert before == ([], ["logs"])
    assert (made.number, made.by, made.reason, made.restores) == (
        1,
        "carol",
        "payments have a topic of their own",
        None,
    )
    assert (live["id"], live["tenants"], live["source_glob"]) == (rule.pk, ["acme"], "pay*")
    assert snapshot.topic_names() == ["logs", "payments"]
    assert moved(version)


def test_edits_of_the_draft_leave_the_control_plane_where_it_is() -> None:
    first, second = draft("first"), draft("second")
    publish()
    version = ControlPlaneVersion.current()

    rules_reorder(rule_id=second.pk, place=1, by="carol")
    rule_enable(rule_id=first.pk, is_enabled=False, by="carol")

    assert not moved(version)
    assert [rule["name"] for rule in rule_sets.live_rules()] == ["first", "second"]


def test_a_draft_that_changes_nothing_is_not_published() -> None:
    draft("payments")
    publish()
    version = ControlPlaneVersion.current()

    with pytest.raises(RulesRefused, match="as version 1: there is nothing to publish"):
        publish()

    assert RuleSet.objects.count() == 1
    assert not moved(version)


def test_what_somebody_else_has_published_meanwhile_is_not_overwritten() -> None:
    draft("payments")
    publish()
    draft("audit")

    with pytest.raises(RulesRefused, match="Version 1 was published meanwhile by carol"):
        rules_publish(by="bob", reason="mine", base_number=0)

    assert RuleSet.objects.count() == 1


def test_a_draft_that_has_changed_since_it_was_looked_at_is_not_published() -> None:
    draft("payments")
    seen = digest_of(rule_sets.draft_rules())
    draft("audit")

    with pytest.raises(RulesRefused, match="The draft has changed"):
        rules_publish(by="bob", reason="mine", digest=seen)

    assert not RuleSet.objects.exists()


@pytest.mark.parametrize("missing", [{"reason": "  "}, {"by": ""}])
def test_nothing_is_published_without_who_and_why(missing: dict[str, str]) -> None:
    draft("payments")

    with pytest.raises(ValidationError):
        rules_publish(by=missing.get("by", "carol"), reason=missing.get("reason", "why not"))

    assert not RuleSet.objects.exists()


def test_the_last_rule_can_be_taken_away(acme: Tenant) -> None:
    draft("payments")
    publish()
    RoutingRule.objects.all().delete()

    publish()

    assert rule_sets.live_rules() == []


def test_a_publication_is_in_the_audit_log_with_what_it_changed() -> None:
    kept, changed = draft("kept"), draft("changed")
    publish()
    RoutingRule.objects.filter(pk=changed.pk).update(topic="elsewhere")

    publish("it was the wrong topic")

    entry = AuditEntry.objects.filter(action="rules.publish").first()
    assert entry is not None
    assert (entry.by, entry.target, entry.reason) == ("carol", "rules version 2", "it was the wrong topic")
    assert entry.before is not None
    assert entry.after is not None
    assert (list(entry.before), list(entry.after)) == (["rule changed"], ["rule changed"])
    assert (entry.before["rule changed"]["topic"], entry.after["rule changed"]["topic"]) == ("changed", "elsewhere")
    assert kept.name not in str(entry.after)


# --- rolling back ----------------------------------------------------------------------------------------------------
def test_a_rollback_is_a_new_version_and_the_draft_with_the_ids_that_rules_had(acme: Tenant) -> None:
    payments, audit = draft("payments", acme, levels=["ERROR"], keep_ratio=0.5), draft("audit")
    publish()
    payments.delete()
    rules_publish(by="bob", reason="no need")
    draft("later")

    made = rules_roll_back(number=1, by="carol", reason="there is")

    assert (made.number, made.restores, made.by) == (3, 1, "carol")
    assert rule_sets.live_rules() == RuleSet.objects.get(number=1).rules == rule_sets.draft_rules()
    assert names() == ["payments", "audit"]
    assert set(RoutingRule.objects.values_list("pk", flat=True)) == {made.rules[0]["id"], audit.pk}
    assert [tenant.name for tenant in RoutingRule.objects.get(name="payments").tenants.all()] == ["acme"]


def test_a_rollback_says_what_the_draft_lost(acme: Tenant) -> None:
    draft("payments")
    publish()
    draft("audit")
    publish()
    draft("unpublished")

    rules_roll_back(number=1, by="carol", reason="audit was wrong")

    lost = AuditEntry.objects.get(action="rules.discard_draft")
    assert "rule unpublished" in (lost.before or {})
    assert AuditEntry.objects.get(action="rules.roll_back").reason == "audit was wrong"


def test_a_rollback_to_what_is_live_is_refused_and_leaves_the_draft() -> None:
    draft("payments")
    publish()
    draft("unpublished")

    with pytest.raises(RulesRefused, match="live already"):
        rules_roll_back(number=1, by="carol", reason="by mistake")

    assert names() == ["payments", "unpublished"]


@pytest.mark.parametrize("number", [7, 2**40])
def test_a_rollback_to_a_version_that_never_was_is_refused(number: int) -> None:
    with pytest.raises(RulesRefused, match=f"no version {number}"):
        rules_roll_back(number=number, by="carol", reason="by mistake")


def test_a_rule_whose_tenants_are_gone_does_not_come_back_as_everybodys(acme: Tenant) -> None:
    bolt = Tenant.objects.create(name="bolt", plan=acme.plan)
    draft("acmes", acme)
    draft("both", acme, bolt)
    publish()
    RoutingRule.objects.all().delete()
    publish()
    acme.delete()

    rules_roll_back(number=1, by="carol", reason="back")

    assert [(rule["name"], rule["tenants"]) for rule in rule_sets.live_rules()] == [("both", ["bolt"])]
    assert rule_sets.draft_rules() == rule_sets.live_rules()


# --- the draft -------------------------------------------------------------------------------------------------------
def test_a_discarded_draft_is_what_is_live_again() -> None:
    draft("payments")
    publish()
    draft("unpublished")
    version = ControlPlaneVersion.current()

    draft_discard(by="carol", reason="was a try")

    assert names() == ["payments"]
    assert not moved(version)
    assert AuditEntry.objects.get(action="rules.discard_draft").reason == "was a try"


def test_a_draft_that_is_what_is_live_is_not_discarded() -> None:
    draft("payments")
    publish()

    with pytest.raises(RulesRefused, match="nothing to discard"):
        draft_discard(by="carol", reason="was a try")


@pytest.mark.parametrize(
    ("place", "order"),
    [(1, ["c", "a", "b"]), (2, ["a", "c", "b"]), (3, ["a", "b", "c"]), (99, ["a", "b", "c"]), (0, ["c", "a", "b"])],
)
def test_a_rule_moves_to_its_place_and_the_others_make_room(place: int, order: list[str]) -> None:
    for name in ("a", "b", "c"):
        draft(name, position=100)  # as forms made them before places were counted

    rules_reorder(rule_id=RoutingRule.objects.get(name="c").pk, place=place, by="carol")

    assert names() == order


def test_a_move_is_in_the_audit_log_and_none_is_not() -> None:
    first, second = draft("first"), draft("second")

    rules_reorder(rule_id=second.pk, place=1, by="carol")
    rules_reorder(rule_id=second.pk, place=1, by="carol")
    rule_enable(rule_id=first.pk, is_enabled=False, by="carol")
    rule_enable(rule_id=first.pk, is_enabled=False, by="carol")

    entries = AuditEntry.objects.order_by("pk").values_list("action", "target", "before", "after")
    assert list(entries) == [
        ("rules.reorder", "second", {"place": 2}, {"place": 1}),
        ("rules.disable", "first", {"enabled": True}, {"enabled": False}),
    ]


def test_a_rule_that_is_gone_is_not_moved() -> None:
    with pytest.raises(RoutingRule.DoesNotExist):
        rules_reorder(rule_id=1, place=1, by="carol")


# --- what dead letters ask -------------------------------------------------------------------------------------------
def test_a_version_knows_what_its_rules_were_called_when_they_are_gone() -> None:
    rule = draft("payments")
    pk = rule.pk
    publish()
    rule.delete()

    assert rule_sets.rule_names([1, 1_795_383_148_636]) == {(1, pk): "payments"}
