"""What was published, by whom and why: every version with what it changed, and how far the live one has come."""

from typing import NamedTuple

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.shortcuts import render as render_part

from ingest.console.pages import console_page, render
from ingest.console.rules import rows_of
from ingest.console.rules_spread import spread_now
from ingest.models import RuleSet
from ingest.rules.changes import RuleChange, changes_between

VERSIONS_A_PAGE = 25
_PERMISSION = "ingest.view_ruleset"


class Version(NamedTuple):
    """A version, and what it changed of the one before it."""

    rule_set: RuleSet
    changes: list[RuleChange]


@console_page(_PERMISSION)
def versions(request: HttpRequest) -> HttpResponse:
    """The newest first."""
    page = Paginator(RuleSet.objects.order_by("-number"), VERSIONS_A_PAGE).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    before = _before(shown[-1]) if shown else None
    older = [*shown[1:], before]
    found = (
        [
            Version(one, changes_between(last.rules if last else [], one.rules))
            for one, last in zip(shown, older, strict=True)
        ]
        if shown
        else []
    )
    live = shown[0].number if shown and page.number == 1 else None
    return render(request, "console/rules_versions.html", "Versions of the rules", page=page, found=found, live=live)


@console_page(_PERMISSION)
def version(request: HttpRequest, number: int) -> HttpResponse:
    """One of them, whole. The live one also says which workers route by it."""
    found = _numbered(number)
    if found is None:
        messages.warning(request, f"There is no version {number} of the rules.")
        return redirect("console:rules_versions")
    before, is_live = _before(found), not RuleSet.objects.filter(number__gt=found.number).exists()
    return render(
        request,
        "console/rules_version.html",
        f"Version {found.number} of the rules",
        version=found,
        before=before,
        changes=changes_between(before.rules if before else [], found.rules),
        rows=rows_of(found.rules, [], []),
        is_live=is_live,
        spread=spread_now(found) if is_live else None,
    )


@console_page(_PERMISSION)
def workers(request: HttpRequest, number: int) -> HttpResponse:
    """What htmx swaps in every second until all have it."""
    found = _numbered(number)
    context = {"live": found, "spread": spread_now(found) if found else None, "open": "open" in request.GET}
    return render_part(request, "console/rules_workers.html", context)


def _numbered(number: int) -> RuleSet | None:
    return RuleSet.objects.filter(number=number).first()


def _before(one: RuleSet) -> RuleSet | None:
    return RuleSet.objects.filter(number__lt=one.number).order_by("-number").first()
