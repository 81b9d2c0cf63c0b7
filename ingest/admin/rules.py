"""The operators' console for routing; each save moves the control plane's version, so workers follow in a second."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from ingest.forms import RoutingRuleForm
from ingest.models import RoutingRule
from tenants.console import VersionedAdmin


@admin.register(RoutingRule)
class RoutingRuleAdmin(VersionedAdmin):
    """Rules in the order in which they are tried."""

    form = RoutingRuleForm
    list_display = ("position", "name", "enabled", "matches", "goes_to")
    list_display_links = ("name",)
    list_filter = ("enabled", "topic", "delivery")
    search_fields = ("name", "source_glob", "topic")
    filter_horizontal = ("tenants",)
    fieldsets = (
        (None, {"fields": ("name", "position", "enabled")}),
        ("Matches", {"fields": ("tenants", "source_glob", "levels", "metadata_field", "metadata_glob")}),
        ("Sends to", {"fields": ("topic", "partitioning", "key", "delivery", "keep_ratio")}),
        ("Or drops", {"fields": ("drop_reason",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RoutingRule]:
        rules: QuerySet[RoutingRule] = super().get_queryset(request)
        return rules.prefetch_related("tenants")

    @admin.display
    def matches(self, rule: RoutingRule) -> str:
        """What an event must be, in one phrase: a list of eight columns does not fit beside its filter."""
        value = f"={rule.metadata_glob}" if rule.metadata_glob else ""
        parts = [
            f"source {rule.source_glob}" if rule.source_glob else "",
            ", ".join(rule.levels),
            f"metadata.{rule.metadata_field}{value}" if rule.metadata_field else "",
            ", ".join(tenant.name for tenant in rule.tenants.all()),
        ]
        return "; ".join(filter(None, parts)) or "everything"

    @admin.display
    def goes_to(self, rule: RoutingRule) -> str:
        """Where such an event goes, in one phrase."""
        if rule.drop_reason:
            return f"nowhere: {rule.drop_reason}"
        parts = [
            f"{rule.topic} by {rule.partitioning}",
            f"key {', '.join(rule.key)}" if rule.key else "",
            rule.delivery,
            f"{rule.keep_ratio:.4g} of it" if rule.keep_ratio < 1 else "",
        ]
        return "; ".join(filter(None, parts))

    def save_model(self, request: HttpRequest, obj: RoutingRule, form: Any, change: bool) -> None:
        """Keying on the time sends one moment's events to one partition: allowed, but said."""
        super().save_model(request, obj, form, change)
        if "timestamp" in obj.key:
            messages.warning(request, "This rule keys on the timestamp: all events of a moment go to one partition.")
