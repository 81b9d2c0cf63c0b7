"""Control plane: the operators' console for API keys. A key's text is on one page, the answer to the form that made it:
it is in no address, no cookie and no session, and no browser keeps the page.
"""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter
from unfold.decorators import action, display

from tenants import api_keys, services
from tenants.consequences import of_revoking, of_rotating, refusal_to_rotate
from tenants.console import ReasonedAdmin, VersionedAdmin, name_of
from tenants.forms import ApiKeyForm, IssueForm, ReasonForm, RotateForm
from tenants.models import LIMIT_FIELDS, ApiKey


class StateFilter(DropdownFilter):  # type: ignore[misc]  # unfold ships no types
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
class ApiKeyAdmin(ReasonedAdmin, VersionedAdmin):
    """Issued and changed here, rotated and revoked after a page that says what that does."""

    form = ApiKeyForm
    ordering = ("-pk",)
    list_display = ("prefix", "name", "its_tenant", "scope_names", "shown_state", "ends", "used")
    list_filter = (("tenant", AutocompleteSelectFilter), StateFilter)
    list_select_related = ("tenant",)
    search_fields = ("prefix__startswith",)
    empty_says = "Who sends needs a key. `manage.py key_issue TENANT` issues one too."
    search_help_text = "The first of the 8 characters after fb_."
    sortable_by = ("prefix",)
    show_full_result_count = False
    autocomplete_fields = ("tenant",)
    actions_detail = ("rotate", "revoke")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        known = ("prefix", "tenant", "state", "replaces", "created_at", "last_used_at", "revoked_at")
        fieldsets = (
            (None, {"fields": known if obj else ("tenant", "new_prefix")}),
            ("What it may do", {"fields": ("name", "scopes", "expires_at", "allowed_networks")}),
            ("Own limits, beneath the plan's", {"fields": LIMIT_FIELDS}),
        )
        return self.asking_why(request, obj, fieldsets)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("prefix", "tenant", "state", "replaces", "created_at", "last_used_at", "revoked_at") if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if not change:
            kwargs["form"] = IssueForm
        return super().get_form(request, obj, change=change, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A revoked key stays, so that whoever still sends with it is found."""
        return False

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        return super().get_search_results(request, queryset, api_keys.prefix_of(search_term.strip()))

    @admin.display(description="tenant")
    def its_tenant(self, key: ApiKey) -> SafeString:
        return format_html(
            '<a class="fb-link" href="{}">{}</a>', reverse("console:tenant", args=[key.tenant]), key.tenant
        )

    @display(description="state", label={"active": "success", "expired": "warning", "revoked": "danger"})  # type: ignore[untyped-decorator]  # unfold ships no types
    def shown_state(self, key: ApiKey) -> str:
        return key.state

    @admin.display
    def ends(self, key: ApiKey) -> str:
        return f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "never"

    @admin.display(description="last used")
    def used(self, key: ApiKey) -> str:
        return f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"

    # --- issue ---

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A form that comes twice, by a double click or a page loaded again, makes one key."""
        context = {"show_save_and_continue": False, "show_save_and_add_another": False, "title": "Issue an API key"}
        try:
            answer: HttpResponse = super().add_view(request, form_url, context)
        except (ValidationError, IntegrityError):
            return self._issued_already(request)
        return answer

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            obj.prefix = form.cleaned_data["new_prefix"]
            obj.shown_once = services.key_mint(key=obj, by=name_of(request))

    def audit(self, request: HttpRequest, action: str, row: Any, **facts: Any) -> None:
        """Of a new key the service has told."""
        if action != "add":
            super().audit(request, action, row, **facts)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_once(request, obj, obj.shown_once)

    def _issued_already(self, request: HttpRequest) -> HttpResponse:
        key = ApiKey.objects.filter(prefix=request.POST.get("new_prefix", "")).first()
        if key is None:
            raise Http404
        text = f"This form had issued {key} before, and its text is not shown again. Rotate it if it was not copied."
        self.message_user(request, text, messages.WARNING)
        return redirect("admin:tenants_apikey_change", key.pk)

    # --- rotate and revoke ---

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        key = self.get_object(request, str(object_id))
        return super().get_actions_detail(request, object_id) if key and key.state == "active" else []

    @action(description="Rotate…", url_path="rotate", permissions=["change"])  # type: ignore[untyped-decorator]  # as above
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Says which key ends when, then shows the new one."""
        key = self._key(request, object_id)
        form = RotateForm(request.POST or None)
        refusal = refusal_to_rotate(key)
        if not refusal and form.is_valid():
            try:
                new, secret = services.key_rotate(key=key, by=name_of(request), **form.cleaned_data)
            except services.KeyNotRotatable as refused:
                refusal = str(refused)
            else:
                key.refresh_from_db()
                return self._show_once(request, new, secret, old=key)
        facts = {
            "consequences": list(of_rotating(key)),
            "refusal": refusal,
            "button": "Rotate the key",
            "is_harmless": True,
        }
        return self._confirm(request, key, form, f"Rotate {key}", **facts)

    @action(description="Revoke…", url_path="revoke", permissions=["change"])  # type: ignore[untyped-decorator]  # as above
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Says who will be refused, then refuses them."""
        key = self._key(request, object_id)
        form = ReasonForm(request.POST or None)
        if not key.revoked_at and form.is_valid():
            services.key_revoke(key=key, by=name_of(request), reason=form.cleaned_data["reason"])
            self.message_user(request, f"Revoked {key}. Every worker refuses it within a second.")
            return redirect("console:tenant", key.tenant.name)
        refusal = f"It was revoked before, on {key.revoked_at:%Y-%m-%d %H:%M} UTC." if key.revoked_at else ""
        facts = {"consequences": list(of_revoking(key)), "refusal": refusal, "button": "Revoke the key"}
        return self._confirm(request, key, form, f"Revoke {key}", **facts)

    def _key(self, request: HttpRequest, object_id: str) -> ApiKey:
        key: ApiKey | None = self.get_object(request, object_id)
        if key is None:
            raise Http404
        return key

    def _confirm(self, request: HttpRequest, key: ApiKey, form: Any, title: str, **facts: Any) -> HttpResponse:
        back = reverse("console:tenant", args=[key.tenant])
        context = {**self.admin_site.each_context(request), "title": title, "form": form, "back": back, **facts}
        return TemplateResponse(request, "console/tenant_confirm.html", context)

    def _show_once(self, request: HttpRequest, key: ApiKey, secret: str, old: ApiKey | None = None) -> HttpResponse:
        context = {"title": f"New key of {key.tenant}", "key": key, "secret": secret, "old": old}
        page = TemplateResponse(request, "console/key_once.html", {**self.admin_site.each_context(request), **context})
        add_never_cache_headers(page)
        return page
