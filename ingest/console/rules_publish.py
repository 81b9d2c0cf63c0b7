"""From the draft to what is live, and back: each page shows what would change and asks why before it does it."""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from ingest.console.pages import console_page, render
from ingest.models import RuleSet
from ingest.rule_sets import (
    RulesRefused,
    draft_discard,
    draft_rules,
    live_rule_set,
    live_rules,
    restorable,
    rules_publish,
    rules_roll_back,
)
from ingest.rules.changes import changes_between
from ingest.rules.facts import digest_of
from ingest.rules.known_topics import named_topics, topics_of_cluster
from ingest.rules.warnings import warnings_of
from tenants.console import name_of


class ReasonForm(forms.Form):
    """Why; and what was live, and in the draft, when it was asked."""

    reason = forms.CharField(
        max_length=500,
        label="Why",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Kept with the version and in the audit log.",
    )
    base_number = forms.IntegerField(widget=forms.HiddenInput, required=False)
    digest = forms.CharField(widget=forms.HiddenInput, required=False)


@console_page("ingest.add_ruleset")
def publish(request: HttpRequest) -> HttpResponse:
    """The draft becomes the next version."""

    def act(why: Mapping[str, Any]) -> HttpResponse:
        made = rules_publish(by=name_of(request), **why)
        return redirect("console:rules_version", made.number)

    def shown() -> dict[str, Any]:
        live, draft = live_rule_set(), draft_rules()
        before = live.rules if live else []
        changes = changes_between(before, draft)
        number = live.number if live else 0
        return {
            "initial": {"base_number": number, "digest": digest_of(draft)},
            "title": f"Publish version {number + 1}",
            "button": f"Publish version {number + 1}",
            "changes": changes,
            "warnings": warnings_of(draft, topics_of_cluster(named_topics(draft))) if changes else [],
            "nothing": "" if changes else "The draft is what is live: there is nothing to publish.",
        }

    return _confirm(request, act, shown)


@console_page("ingest.add_ruleset")
def roll_back(request: HttpRequest, number: int) -> HttpResponse:
    """An old version becomes the next one; the draft becomes what it is."""
    found = RuleSet.objects.filter(number=number).first()
    if found is None:
        return _no_such_version(request, number)

    def act(why: Mapping[str, Any]) -> HttpResponse:
        made = rules_roll_back(number=number, by=name_of(request), **why)
        return redirect("console:rules_version", made.number)

    def shown() -> dict[str, Any]:
        live, draft, restored = live_rule_set(), draft_rules(), restorable(found.rules)
        before = live.rules if live else []
        changes = changes_between(before, restored.rules)
        return {
            "initial": {"base_number": live.number if live else 0, "digest": digest_of(draft)},
            "title": f"Roll back to version {number}",
            "button": f"Roll back to version {number}",
            "version": found,
            "changes": changes,
            "restored": restored,
            "lost": changes_between(before, draft),
            "warnings": warnings_of(restored.rules, topics_of_cluster(named_topics(restored.rules))) if changes else [],
            "nothing": ""
            if changes
            else f"Version {number} has the rules that are live: there is nothing to roll back.",
        }

    return _confirm(request, act, shown)


@console_page("ingest.change_routingrule")
def discard(request: HttpRequest) -> HttpResponse:
    """The draft becomes what is live."""

    def act(why: Mapping[str, Any]) -> HttpResponse:
        draft_discard(by=name_of(request), reason=why["reason"], digest=why["digest"])
        messages.success(request, "The draft is what is live again.")
        return redirect("console:rules")

    def shown() -> dict[str, Any]:
        draft, restored = draft_rules(), restorable(live_rules())
        changes = changes_between(draft, restored.rules)
        return {
            "initial": {"digest": digest_of(draft)},
            "title": "Discard the draft",
            "button": "Discard the draft",
            "is_discard": True,
            "changes": changes,
            "restored": restored,
            "nothing": "" if changes else "The draft is what is live: there is nothing to discard.",
        }

    return _confirm(request, act, shown)


def _confirm(
    request: HttpRequest,
    act: Callable[[Mapping[str, Any]], HttpResponse],
    shown: Callable[[], dict[str, Any]],
) -> HttpResponse:
    """Show, ask, do; what was refused is shown with what is there now."""
    form, refusal = ReasonForm(request.POST or None), ""
    if form.is_valid():
        try:
            return act(form.cleaned_data)
        except RulesRefused as refused:
            refusal = str(refused)
        except ValidationError as error:
            refusal = " ".join(error.messages)
    context = shown()
    initial = context.pop("initial", {})
    if refusal or not form.is_bound:
        form = ReasonForm(initial={**initial, "reason": request.POST.get("reason", "")})
    return render(request, "console/rules_confirm.html", context.pop("title"), form=form, refusal=refusal, **context)


def _no_such_version(request: HttpRequest, number: int) -> HttpResponse:
    messages.warning(request, f"There is no version {number} of the rules.")
    return redirect("console:rules_versions")
