"""The operators' console for routing; each save moves the control plane's version, so workers follow in a second."""

from django.contrib import admin, messages
from django.forms import ModelForm
from django.http import HttpRequest

from ingest.models import RoutingRule
from tenants.admin import VersionedAdmin


@admin.register(RoutingRule)
class RoutingRuleAdmin(VersionedAdmin):
    """Rules in the order in which they are tried."""

    list_display = ("position", "name", "enabled", "source_glob", "levels", "topic", "drop_reason", "delivery")
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

    def save_model(self, request: HttpRequest, obj: RoutingRule, form: "ModelForm[RoutingRule]", change: bool) -> None:
        """Keying on the time sends one moment's events to one partition: allowed, but said."""
        super().save_model(request, obj, form, change)
        if "timestamp" in obj.key:
            messages.warning(request, "This rule keys on the timestamp: all events of a moment go to one partition.")
