"""Control plane: the draft of the routing rules, its published versions, and every way from one to the other.

`RoutingRule` rows are the draft; no worker sees them. A `RuleSet` is a version that was published, the highest number
is live; 0 stands for none, when the built-in default takes everything. Only what changes what is live moves the control
plane's version. Called from commands and the console.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction

from ingest.models import RoutingRule, RuleSet
from ingest.rules.facts import Facts, digest_of, facts_of_rule
from tenants.audit import audit
from tenants.models import ControlPlaneVersion, Tenant
from tenants.services import Refused

POSITION_STEP = 10
_LARGEST_NUMBER = 2**31 - 1


class RulesRefused(Refused):
    """It cannot be published, rolled back or discarded now; it says why and what to do."""


class Restorable(NamedTuple):
    """A version's rules as they can be had today: a rule that named tenants is theirs alone, so it goes with the last
    of them instead of becoming everybody's."""

    rules: list[Facts]
    without_rules: tuple[str, ...]
    without_tenants: tuple[str, ...]


def live_rule_set() -> RuleSet | None:
    """The version that workers route by; None before the first."""
    return RuleSet.objects.order_by("-number").first()


def live_rules() -> list[Facts]:
    """All rules of the live version, the disabled ones too."""
    live = live_rule_set()
    return live.rules if live else []


def draft_rules() -> list[Facts]:
    """The draft, in the order in which its rules would be tried."""
    return [facts_of_rule(rule) for rule in RoutingRule.objects.prefetch_related("tenants")]


def rule_set_numbered(number: int) -> RuleSet:
    """Raises RulesRefused."""
    found = RuleSet.objects.filter(number=number).first() if number <= _LARGEST_NUMBER else None
    if found is None:
        raise RulesRefused(f"There is no version {number} of the rules.")
    return found


def restorable(rules: Sequence[Facts]) -> Restorable:
    """What of these rules can be had today."""
    named = {name for rule in rules for name in rule["tenants"]}
    existing = set(Tenant.objects.filter(name__in=named).values_list("name", flat=True))
    kept = [rule | {"tenants": [name for name in rule["tenants"] if name in existing]} for rule in rules]
    lost = {rule["id"] for rule, now in zip(rules, kept, strict=True) if rule["tenants"] and not now["tenants"]}
    return Restorable(
        [rule for rule in kept if rule["id"] not in lost],
        tuple(rule["name"] for rule in kept if rule["id"] in lost),
        tuple(sorted(named - existing)),
    )


def rules_publish(*, by: str, reason: str, base_number: int | None = None, digest: str | None = None) -> RuleSet:
    """Make the draft live. `base_number` is the version that was live when its author looked, `digest` what the draft
    was then; either not given is not asked. Raises RulesRefused, and ValidationError where who or why is missing."""
    rules = draft_rules()
    _check_unchanged(rules, digest)
    return _publish(rules, "rules.publish", by=by, reason=reason, base_number=base_number)


def rules_roll_back(
    *, number: int, by: str, reason: str, base_number: int | None = None, digest: str | None = None
) -> RuleSet:
    """Make an old version live again under a new number; the draft becomes what it is, and what it was is lost: so it
    must be what was looked at. Takes and raises what rules_publish does."""
    found = restorable(rule_set_numbered(number).rules)
    with transaction.atomic():
        _draft_replace(found.rules, by=by, reason=f"Rolled back to version {number}: {reason}", digest=digest)
        return _publish(found.rules, "rules.roll_back", by=by, reason=reason, base_number=base_number, restores=number)


@transaction.atomic
def draft_discard(*, by: str, reason: str, digest: str | None = None) -> None:
    """Make the draft what is live. Raises RulesRefused where nothing would change, or where the draft is not what it
    was when somebody looked (`digest`, if given); ValidationError without a reason."""
    _check_who_and_why(by, reason)
    if not _draft_replace(restorable(live_rules()).rules, by=by, reason=reason, digest=digest):
        raise RulesRefused("The draft is what is live: there is nothing to discard.")


@transaction.atomic
def rules_reorder(*, rule_id: int, place: int, by: str) -> None:
    """Put a rule of the draft at a place, counted from 1; the others make room. Raises RoutingRule.DoesNotExist."""
    rules = list(RoutingRule.objects.select_for_update())
    at = next((index for index, rule in enumerate(rules) if rule.pk == rule_id), None)
    if at is None:
        raise RoutingRule.DoesNotExist
    to = max(0, min(place - 1, len(rules) - 1))
    if to == at:
        return
    rules.insert(to, rules.pop(at))
    for index, rule in enumerate(rules, start=1):
        rule.position = index * POSITION_STEP
    RoutingRule.objects.bulk_update(rules, ["position"])
    audit(by=by, action="rules.reorder", target=rules[to], before={"place": at + 1}, after={"place": to + 1})


@transaction.atomic
def rule_enable(*, rule_id: int, is_enabled: bool, by: str) -> None:
    """Switch a rule of the draft on or off. Raises RoutingRule.DoesNotExist."""
    rule = RoutingRule.objects.select_for_update().get(pk=rule_id)
    if rule.enabled == is_enabled:
        return
    rule.enabled = is_enabled
    rule.save(update_fields=["enabled"])
    action = "rules.enable" if is_enabled else "rules.disable"
    audit(by=by, action=action, target=rule, before={"enabled": not is_enabled}, after={"enabled": is_enabled})


def next_position() -> int:
    """Behind every rule of the draft."""
    last = RoutingRule.objects.order_by("-position").values_list("position", flat=True).first()
    return (last or 0) + POSITION_STEP


def rule_names(versions: Iterable[int]) -> dict[tuple[int, int], str]:
    """By version and rule: how the rules that routed an event were called, though they may be gone."""
    numbers = {number for number in versions if 0 < number <= _LARGEST_NUMBER}
    found = RuleSet.objects.filter(number__in=numbers).values_list("number", "rules")
    return {(number, rule["id"]): rule["name"] for number, rules in found for rule in rules}


def _publish(
    rules: list[Facts], action: str, *, by: str, reason: str, base_number: int | None, restores: int | None = None
) -> RuleSet:
    _check_who_and_why(by, reason)
    try:
        with transaction.atomic():
            return _publish_next(rules, action, by.strip(), reason.strip(), base_number, restores)
    except IntegrityError as error:  # the number is unique
        raise RulesRefused("Somebody else has published at this very moment: look at what is live now.") from error


def _publish_next(
    rules: list[Facts], action: str, by: str, reason: str, base_number: int | None, restores: int | None
) -> RuleSet:
    live = live_rule_set()
    number, before = (live.number, live.rules) if live else (0, [])
    if base_number is not None and base_number != number:
        who = f" by {live.by}" if live else ""
        raise RulesRefused(f"Version {number} was published meanwhile{who}: look at what is different from it now.")
    if rules == before:
        raise RulesRefused(f"That is what is live already, as version {number}: there is nothing to publish.")
    made = RuleSet.objects.create(number=number + 1, rules=rules, by=by, reason=reason, restores=restores)
    audit(by=by, action=action, target=made, reason=reason, before=_by_name(before), after=_by_name(rules))
    ControlPlaneVersion.bump()
    return made


def _check_who_and_why(by: str, reason: str) -> None:
    asked = RuleSet(number=1, by=by.strip(), reason=reason.strip())
    asked.clean_fields(exclude=["number", "rules"])


def _check_unchanged(draft: Sequence[Facts], digest: str | None) -> None:
    if digest is not None and digest != digest_of(draft):
        raise RulesRefused("The draft has changed since you looked at it: what is different now is below.")


def _draft_replace(rules: Sequence[Facts], *, by: str, reason: str, digest: str | None) -> bool:
    """Whether that changed anything. Rows keep their ids, by which events and dead letters know them."""
    # Nobody changes a rule between the look at it and its end.
    list(RoutingRule.objects.select_for_update().values_list("pk"))
    before = draft_rules()
    _check_unchanged(before, digest)
    if before == rules:
        return False
    RoutingRule.objects.all().delete()
    for place, facts in enumerate(rules, start=1):
        values = {name: value for name, value in facts.items() if name not in ("id", "tenants")}
        row = RoutingRule.objects.create(pk=facts["id"], position=place * POSITION_STEP, **values)
        row.tenants.set(Tenant.objects.filter(name__in=facts["tenants"]))
    audit(
        by=by,
        action="rules.discard_draft",
        target="the draft",
        reason=reason,
        before=_by_name(before),
        after=_by_name(rules),
    )
    return True


def _by_name(rules: Sequence[Facts]) -> Mapping[str, Any]:
    """For the audit log, which keeps what differs."""
    return {"order": [rule["name"] for rule in rules], **{f"rule {rule['name']}": rule for rule in rules}}
