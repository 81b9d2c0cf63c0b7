"""Routing rules: the draft in its order, how it differs from what is live, and the small changes to it."""

from collections.abc import Sequence
from typing import NamedTuple

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST
from msgspec.structs import asdict

from ingest.console.pages import console_page, number_of, render
from ingest.console.rules_spread import spread_now
from ingest.dataplane.routing import default_rule
from ingest.dead_letters.routes import defaults
from ingest.models import RoutingRule
from ingest.rule_sets import draft_rules, live_rule_set, rule_enable, rules_reorder
from ingest.rules.changes import RuleChange, changes_between
from ingest.rules.facts import Facts, goes_in_words, matches_in_words
from ingest.rules.known_topics import topics_of_snapshot
from ingest.rules.warnings import RuleWarning, warnings_of
from tenants.console import name_of


class Row(NamedTuple):
    """A rule of the draft at its place, in words."""

    rule: Facts
    place: int
    matches: str
    goes_to: str
    change: RuleChange | None
    warnings: Sequence[RuleWarning]


@console_page("ingest.view_routingrule")
def rules(request: HttpRequest) -> HttpResponse:
    """The whole page, complete without a script."""
    live, draft = live_rule_set(), draft_rules()
    changes = changes_between(live.rules if live else [], draft)
    warnings = warnings_of(draft, topics_of_snapshot())
    return render(
        request,
        "console/rules.html",
        "Routing rules",
        live=live,
        rows=rows_of(draft, changes, warnings),
        changes=changes,
        warnings=warnings,
        default_goes_to=goes_in_words(asdict(default_rule(defaults()))),
        spread=spread_now(live) if live else None,
    )


def rows_of(draft: Sequence[Facts], changes: Sequence[RuleChange], warnings: Sequence[RuleWarning]) -> list[Row]:
    """Each rule with what is to be said of it."""
    changed = {change.rule["id"]: change for change in changes}
    return [
        Row(
            rule,
            place,
            matches_in_words(rule),
            goes_in_words(rule),
            changed.get(rule["id"]),
            [warning for warning in warnings if warning.rule is rule],
        )
        for place, rule in enumerate(draft, start=1)
    ]


@console_page("ingest.change_routingrule")
@require_POST
def rules_move(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Up, down, or to a place."""
    place = number_of(request.POST.get("place", ""))
    if place is None:
        messages.warning(request, "A place is a number, counted from 1.")
        return redirect("console:rules")
    try:
        rules_reorder(rule_id=rule_id, place=place, by=name_of(request))
    except RoutingRule.DoesNotExist:
        messages.warning(request, "That rule is not in the draft any more.")
    return redirect("console:rules")


@console_page("ingest.change_routingrule")
@require_POST
def rules_enable(request: HttpRequest, rule_id: int) -> HttpResponse:
    """On or off."""
    try:
        rule_enable(rule_id=rule_id, is_enabled=request.POST.get("enabled") == "1", by=name_of(request))
    except RoutingRule.DoesNotExist:
        messages.warning(request, "That rule is not in the draft any more.")
    return redirect("console:rules")
