"""One rule of the draft in the console: its form. The list of them, and what becomes of it, is console:rules."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from ingest.forms import RoutingRuleForm
from ingest.models import RoutingRule
from ingest.rule_sets import live_rules, next_position
from ingest.rules.facts import facts_of_rule, goes_in_words, matches_in_words
from tenants.console import ConsoleAdmin

_DRAFT_ONLY = "Workers go on with what is live until the draft is published."


@admin.register(RoutingRule)
class RoutingRuleAdmin(ConsoleAdmin):
    """Nothing here is live: no write moves the control plane's version."""

    form = RoutingRuleForm
    search_fields = ("name", "source_glob", "topic")
    fieldsets = (
        (None, {"fields": ("name", "enabled")}),
        ("Matches", {"fields": ("tenants", "source_glob", "levels", "metadata_field", "metadata_glob")}),
        ("Sends to", {"fields": ("topic", "partitioning", "key", "delivery", "keep_ratio")}),
        ("Or drops", {"fields": ("drop_reason",)}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list has a page of its own."""
        return redirect("console:rules")

    def save_model(self, request: HttpRequest, obj: RoutingRule, form: Any, change: bool) -> None:
        """A new rule is the last; keying on the time sends one moment's events to one partition: allowed, but said."""
        if not change:
            obj.position = next_position()
        super().save_model(request, obj, form, change)
        if "timestamp" in obj.key:
            messages.warning(request, "This rule keys on the timestamp: all events of a moment go to one partition.")

    def response_post_save_add(self, request: HttpRequest, obj: RoutingRule) -> HttpResponse:
        """Back to the list, which shows where it stands."""
        messages.info(request, f"{obj} is the last rule of the draft; move it to where it should be tried.")
        return redirect("console:rules")

    def response_post_save_change(self, request: HttpRequest, obj: RoutingRule) -> HttpResponse:
        """Back to the list."""
        return redirect("console:rules")

    def of_deleting(self, row: RoutingRule) -> Iterator[str]:
        """What it takes now, and until when."""
        facts = facts_of_rule(row)
        yield f"It leaves the draft, with what it says: {matches_in_words(facts)} → {goes_in_words(facts)}."
        yield "What it would have matched is tried by the rules behind it."
        if any(rule["id"] == row.pk for rule in live_rules()):
            yield f"It is live. {_DRAFT_ONLY} Discarding the draft brings it back."
        else:
            yield "It is not live: no worker knows it. Only a rollback to a version that had it brings it back."

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        """Back to the list."""
        messages.success(request, f"{obj_display} is deleted from the draft. {_DRAFT_ONLY}")
        return redirect("console:rules")
