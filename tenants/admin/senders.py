"""Control plane: the operators' console for plans, tenants and keys. Each write moves the control-plane version."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from tenants import api_keys, services
from tenants.console import ReadOnlyInline, VersionedAdmin
from tenants.forms import ApiKeyForm
from tenants.models import LIMIT_FIELDS, ApiKey, Plan, Tenant


@admin.register(Plan)
class PlanAdmin(VersionedAdmin):
    list_display = (
        "name",
        *LIMIT_FIELDS,
        "requests_per_s_per_address",
        "idempotency_keys",
        "deduplicates",
        "quarantine",
        "tenant_count",
    )
    fieldsets = (
        (None, {"fields": ("name", *LIMIT_FIELDS, "requests_per_s_per_address")}),
        ("What comes again", {"fields": ("idempotency_keys", "deduplicates")}),
        ("What is rejected", {"fields": ("quarantine",)}),
    )
    search_fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(tenant_count=Count("tenants"))

    @admin.display(description="tenants", ordering="tenant_count")
    def tenant_count(self, plan: Any) -> int:
        return int(plan.tenant_count)


class ApiKeyInline(ReadOnlyInline):
    """To look at only: a key is issued, rotated and revoked under API keys, where its secret can be shown."""

    model = ApiKey
    fields = ("prefix", "name", "scope_names", "state", "expires_at", "last_used_at")
    readonly_fields = fields
    show_change_link = True


@admin.register(Tenant)
class TenantAdmin(VersionedAdmin):
    list_display = ("name", "display_name", "plan", "status", "delivery", "active_keys", "created_at")
    fields = ("name", "display_name", "plan", "status", "default_delivery")
    list_filter = ("status", "plan", "default_delivery")
    list_select_related = ("plan",)
    search_fields = ("name", "display_name")
    actions = ("suspend", "resume")
    inlines = (ApiKeyInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        unexpired = Q(api_keys__expires_at=None) | Q(api_keys__expires_at__gt=timezone.now())
        active = Count("api_keys", filter=Q(api_keys__revoked_at=None) & unexpired)
        tenants: QuerySet[Tenant] = super().get_queryset(request)
        return tenants.annotate(active_keys=active)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        """A rule that names tenants is theirs alone; without its last one it would be everybody's."""
        listed, counts, lacking, protected = super().get_deleted_objects(objs, request)
        rules = {f"routing rule: {rule}" for tenant in objs for rule in tenant.routingrule_set.all()}
        return listed, counts, lacking, [*protected, *sorted(rules)]

    @admin.display(description="delivery", ordering="default_delivery")
    def delivery(self, tenant: Tenant) -> str:
        return tenant.default_delivery

    @admin.display(description="active keys", ordering="active_keys")
    def active_keys(self, tenant: Any) -> int:
        return int(tenant.active_keys)

    @admin.action(description="Suspend: refuse their requests", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        for tenant in queryset:
            if services.tenant_suspend(tenant=tenant):
                self.log_change(request, tenant, "Suspended.")
        self.message_user(request, "Suspended. Workers refuse their requests within a second.")

    @admin.action(description="Resume: take their requests again", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        for tenant in queryset:
            if services.tenant_resume(tenant=tenant):
                self.log_change(request, tenant, "Resumed.")
        self.message_user(request, "Resumed. Workers take their requests within a second.")


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in ("active", "expired", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = Q(expires_at__lte=timezone.now())
        chosen = {
            "active": queryset.filter(revoked_at=None).exclude(expired),
            "expired": queryset.filter(expired, revoked_at=None),
            "revoked": queryset.exclude(revoked_at=None),
        }
        return chosen.get(self.value() or "", queryset)


@admin.register(ApiKey)
class ApiKeyAdmin(VersionedAdmin):
    form = ApiKeyForm
    ordering = ("tenant__name", "-created_at")
    list_display = ("prefix", "name", "tenant", "scope_names", "state", "expires_at", "last_used_at")
    list_filter = (StateFilter, "tenant__plan")
    list_select_related = ("tenant",)
    search_fields = ("prefix", "name", "tenant__name")
    autocomplete_fields = ("tenant",)
    date_hierarchy = "created_at"
    actions = ("rotate", "revoke")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*ApiKeyForm.Meta.fields, *self.get_readonly_fields(request, obj)[1:]) if obj else ApiKeyForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("tenant", "prefix", "state", "replaces", "created_at", "last_used_at", "revoked_at") if obj else ()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        return super().get_search_results(request, queryset, api_keys.prefix_of(search_term))

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            self._show_once(request, obj, services.key_mint(key=obj))

    @admin.action(description="Rotate: issue successors; the old keys work 24 hours more", permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.select_related("tenant"):
            try:
                new, secret = services.key_rotate(key=key)
            except services.KeyNotRotatable as refusal:
                self.message_user(request, str(refusal), messages.ERROR)
            else:
                self.log_change(request, key, f"Rotated to fb_{new.prefix}.")
                self._show_once(request, new, secret)

    @admin.action(description="Revoke: refuse them from now on", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            if services.key_revoke(key=key):
                self.log_change(request, key, "Revoked.")
        self.message_user(request, "Revoked. Workers refuse them within a second.")

    def _show_once(self, request: HttpRequest, key: ApiKey, secret: str) -> None:
        text = f"Copy the key {key.name} of {key.tenant} now, it is not shown again: {secret}"
        self.message_user(request, text, messages.WARNING)
