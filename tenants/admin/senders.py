"""Control plane: the operators' console for plans and tenants. How a tenant does, and what can be done to it, is on a
page of its own (ingest/console/tenants.py), which this links to and returns to; here are the forms, which are
registered with the page that shows a change before it is live (ingest/admin/senders.py).
"""

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants.console import ReasonedAdmin, VersionedAdmin
from tenants.models import LIMIT_FIELDS, Plan, Tenant


class PlanAdmin(ReasonedAdmin, VersionedAdmin):
    """Quotas, for all tenants of a plan at once."""

    list_display = ("name", "tenants_on_it", "events", "amount", "day", "requests", "quarantine_word")
    search_fields = ("name",)
    actions = None
    empty_says = "A tenant needs a plan, which says how much it may send."

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        concerned = ("tenants_on_it",) if obj else ()
        fieldsets = (
            (None, {"fields": ("name", *concerned)}),
            ("What a tenant may send", {"fields": (*LIMIT_FIELDS, "requests_per_s_per_address")}),
            ("What comes again", {"fields": ("idempotency_keys", "deduplicates")}),
            ("What is rejected", {"fields": ("quarantine",)}),
        )
        return self.asking_why(request, obj, fieldsets)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("tenants_on_it",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes what somebody is on."""
        may: bool = super().has_delete_permission(request, obj)
        return may and (obj is None or not obj.tenants.exists())

    def of_deleting(self, row: Plan) -> Iterator[str]:
        """No tenant is on it, or it could not be deleted."""
        limits = [f"{label_for_field(name, Plan)} {getattr(row, name):,}" for name in LIMIT_FIELDS]
        yield "No tenant is on it: nobody's limits change. No tenant can be given it any more."
        yield f"Its limits go with it, and the audit log keeps them: {', '.join(limits)}; 0 is no limit."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(tenant_count=Count("tenants"))

    @admin.display(description="events/s", ordering="events_per_s")
    def events(self, plan: Plan) -> SafeString:
        return _limit(plan.events_per_s, intcomma, plan.burst_events)

    @admin.display(description="bytes/s", ordering="bytes_per_s")
    def amount(self, plan: Plan) -> SafeString:
        return _limit(plan.bytes_per_s, filesizeformat, plan.burst_bytes)

    @admin.display(description="events/day", ordering="events_per_day")
    def day(self, plan: Plan) -> SafeString:
        return _limit(plan.events_per_day, intcomma)

    @admin.display(description="requests/s of an address", ordering="requests_per_s_per_address")
    def requests(self, plan: Plan) -> SafeString:
        return _limit(plan.requests_per_s_per_address, intcomma)

    @admin.display(description="quarantine", ordering="quarantine")
    def quarantine_word(self, plan: Plan) -> str:
        return plan.quarantine

    @admin.display(description="concerns", ordering="tenant_count")
    def tenants_on_it(self, plan: Any) -> SafeString:
        """A change is theirs within a second."""
        many = "" if plan.tenant_count == 1 else "s"
        address = f"{reverse('console:tenants')}?plan={plan.name}"
        return format_html('<a class="fb-link" href="{}">{} tenant{}</a>', address, plan.tenant_count, many)


def _limit(value: int, words: Callable[[int], str], burst: int = 0) -> SafeString:
    """A limit and the burst above it, each in one piece; 0 is none."""
    if not value:
        return format_html('<span class="fb-faint">{}</span>', "no limit")
    limit = format_html('<span class="fb-figure">{}</span>', words(value))
    return format_html('{} <span class="fb-figure fb-faint">burst {}</span>', limit, words(burst)) if burst else limit


class TenantAdmin(ReasonedAdmin, VersionedAdmin):
    """A tenant's settings. Its list, its state and its end are on the console's own pages."""

    search_fields = ("name", "display_name")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name", "display_name", "plan", "default_delivery")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not from here: the page that does it looks first whether anything of the tenant is left."""
        return False

    def audit(self, request: HttpRequest, action: str, row: Any, **facts: Any) -> None:
        """As the service calls it."""
        super().audit(request, "create" if action == "add" else action, row, **facts)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """With one way on: to the tenant's page."""
        context = {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().changeform_view(request, object_id, form_url, context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return redirect("console:tenants")

    def response_post_save_add(self, request: HttpRequest, obj: Tenant) -> HttpResponse:
        return redirect("console:tenant", obj.name)

    def response_post_save_change(self, request: HttpRequest, obj: Tenant) -> HttpResponse:
        return redirect("console:tenant", obj.name)
