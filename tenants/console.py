"""Control plane: what every page of the operators' console is made of: its look, its audit line, its version.

`ConsoleAdmin` puts each save and delete into the audit log with before and after, in the transaction of the write.
`VersionedAdmin` also moves the control plane's version, for models that the snapshot depends on.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline

from tenants.audit import audit, facts_of, target_of
from tenants.forms import DeleteForm, reasoned
from tenants.models import ControlPlaneVersion
from tenants.seen import digest_of, unless_changed


def name_of(request: HttpRequest) -> str:
    """Who is at the console, as the audit log and dead letters call them."""
    return str(request.user.get_username())


def figure(title: str, field: str = "") -> Callable[[Any], SafeString]:
    """A column of a list: a whole number, its thousands apart and never broken. Nobody sorts by it: no index would."""

    @admin.display(description=title)
    def shown(row: Any) -> SafeString:
        return format_html('<span class="fb-figure">{}</span>', f"{getattr(row, field or title):,}")

    shown.__name__ = field or title
    return shown


class ConsoleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """A model's pages in the console."""

    compressed_fields = True
    list_filter_submit = True
    warn_unsaved_form = False
    change_form_before_template = "console/form_seen.html"
    list_per_page = 50
    empty_says = ""  # what would be in the list, for whom it is empty

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Whoever sends a form waits for one that is under way, and meets the row as that has left it."""
        row = super().get_object(request, object_id, from_field)
        if row is None or request.method != "POST" or not connection.in_atomic_block:
            return row
        self.model._default_manager.select_for_update().filter(pk=row.pk).values_list("pk").first()
        return super().get_object(request, object_id, from_field)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Who changes a row knows what it is."""
        if change and self.has_change_permission(request, obj):
            kwargs["form"] = unless_changed(kwargs.get("form", self.form))
        return super().get_form(request, obj, change=change, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The last step of every form and every editable list; its audit line is in the same transaction."""
        with transaction.atomic():
            super().save_related(request, form, formsets, change)
            row = form.instance
            self.audit(
                request,
                "change" if change else "add",
                row,
                reason=form.cleaned_data.get("reason", ""),
                before=getattr(form, "facts_before", None),
                after=facts_of(row),
            )

    def get_actions(self, request: HttpRequest) -> Any:
        """Nothing is deleted by ticking it: the page of each row says first what that does."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def of_deleting(self, row: Any) -> Iterator[str]:
        """What becomes of it, and of whatever depends on it: a sentence each."""
        yield "It is gone for good. The audit log keeps what it was."

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Says what will happen to what is there now, asks why, then does it."""
        with transaction.atomic():
            row = self.get_object(request, unquote(object_id))
            if not self.has_delete_permission(request, row):
                raise PermissionDenied
            if row is None:
                return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            seen, name, pk = digest_of(row), str(row), row.pk
            form = DeleteForm(request.POST or None, initial={"seen": seen})
            if form.is_valid() and form.cleaned_data["seen"] in ("", seen):
                self.delete_model(request, row, form.cleaned_data["reason"])
                return self.response_delete(request, name, pk)
        return self._confirm_delete(request, row, form, seen)

    def _confirm_delete(self, request: HttpRequest, row: Model, form: DeleteForm, seen: str) -> HttpResponse:
        is_another = form.is_valid()  # and not what was looked at
        if is_another:
            form = DeleteForm(initial={"seen": seen, "reason": form.cleaned_data["reason"]})
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete {row}",
            "warning": "It has changed since you looked at it: what it is now is said below." if is_another else "",
            "consequences": list(self.of_deleting(row)),
            "form": form,
            "button": f"Delete {row}",
            "back": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk]),
        }
        return TemplateResponse(request, "console/tenant_confirm.html", context)

    def delete_model(self, request: HttpRequest, obj: Model, reason: str = "") -> None:
        with transaction.atomic():
            self.audit(request, "delete", obj, reason=reason, before=facts_of(obj))
            super().delete_model(request, obj)

    def audit(self, request: HttpRequest, action: str, row: Model, **facts: Any) -> None:
        """One line, named after the model: tenant.change, plan.delete."""
        audit(by=name_of(request), action=f"{self.opts.model_name}.{action}", target=row, **facts)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """What the audit log has of this row."""
        row = self.get_object(request, object_id)
        if not self.has_view_permission(request, row) or not request.user.has_perm("tenants.view_auditentry"):
            raise PermissionDenied
        if row is None:
            raise Http404
        query = urlencode({"target": target_of(row)})
        return redirect(f"{reverse('admin:tenants_auditentry_changelist')}?{query}")

    # Django's own log has neither before nor after nor reason: the audit log takes its place.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry | None:
        return None

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry | None:
        return None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return []


class VersionedAdmin(ConsoleAdmin):
    """For models that the snapshot depends on: each write and its version are one transaction."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_related(request, form, formsets, change)
            ControlPlaneVersion.bump()

    def delete_model(self, request: HttpRequest, obj: Model, reason: str = "") -> None:
        with transaction.atomic():
            super().delete_model(request, obj, reason)
            ControlPlaneVersion.bump()


class ReasonedAdmin(ConsoleAdmin):
    """Whoever changes a row says why; to make a new one needs no reason."""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if change and self.has_change_permission(request, obj):
            kwargs.setdefault("form", reasoned(self.form))
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.asking_why(request, obj, super().get_fieldsets(request, obj))

    def asking_why(self, request: HttpRequest, obj: Any, fieldsets: Any) -> Any:
        """For a class that makes its fieldsets by itself."""
        asks = obj is not None and self.has_change_permission(request, obj)
        return [*fieldsets, ("Why", {"fields": ("reason",)})] if asks else fieldsets


class ReadOnlyAdmin(ConsoleAdmin):
    """Nobody writes here by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyInline(TabularInline):  # type: ignore[misc]  # unfold ships no types
    """Rows of another model below a page, to look at only."""

    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
