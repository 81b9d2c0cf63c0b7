"""What operators have said about breakers and parked topics, for good: where they stand, and what can be said of them,
is on the console's page of breakers and topics."""

from django.contrib import admin

from ingest.models import Override
from tenants.console import ReadOnlyAdmin


@admin.register(Override)
class OverrideAdmin(ReadOnlyAdmin):
    """Words are added and never changed or taken back: the next word for the same place holds."""

    list_display = ("at", "kind", "place", "by", "reason")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("topic", "tenant", "by", "reason")
    date_hierarchy = "at"
    change_list_template = "console/override_history.html"
