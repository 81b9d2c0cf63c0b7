"""The operators' console for rejected events that a plan keeps: to look at, and to delete before their time."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ingest.dataplane.errors import EventRejected
from ingest.models import QuarantinedEvent
from tenants.console import ConsoleAdmin
from tenants.models import Quarantine, Tenant

_MOST_TENANTS = 200


class TenantFilter(admin.SimpleListFilter):
    """Those whose plan keeps something now; asking the table itself would read all of it."""

    title = parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        keeping = Tenant.objects.exclude(plan__quarantine=Quarantine.OFF)[:_MOST_TENANTS]
        return [(tenant.name, tenant.name) for tenant in keeping]

    def queryset(self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]) -> QuerySet[QuarantinedEvent]:
        return queryset.filter(tenant=self.value()) if self.value() else queryset


class CodeFilter(admin.SimpleListFilter):
    """By the table of codes, for the same reason."""

    title = parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, code) for code in sorted(EventRejected.codes)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]) -> QuerySet[QuarantinedEvent]:
        return queryset.filter(code=self.value()) if self.value() else queryset


@admin.register(QuarantinedEvent)
class QuarantinedEventAdmin(ConsoleAdmin):
    """Nothing here can be changed: it is what somebody sent."""

    list_display = ("received_at", "tenant", "code", "what", "size_bytes", "index", "correlation_id")
    list_filter = (TenantFilter, CodeFilter, "received_at")
    search_fields = ("=tenant", "=correlation_id", "=sha256")
    search_help_text = "A tenant's name, a correlation id or a SHA-256, each whole."
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display
    def what(self, event: QuarantinedEvent) -> str:
        """Why, in words; or the hash where nothing else is kept."""
        return event.detail or event.sha256
