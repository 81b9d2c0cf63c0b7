"""Control plane: what every page of the operators' console is made of: its look, its audit line, its version.

`ConsoleAdmin` puts each save and delete into the audit log with before and after, in the transaction of the write.
`VersionedAdmin` also moves the control plane's version, for models that the snapshot depends on.
"""

from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from tenants.audit import audit, facts_of
from tenants.models import ControlPlaneVersion


def name_of(request: HttpRequest) -> str:
    """Who is at the console, as the audit log and dead letters call them."""
    return str(request.user.get_username())


class ConsoleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """A model's pages in the console."""

    compressed_fields = True
    list_filter_submit = True
    warn_unsaved_form = False

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Note what was there, before the form writes over it."""
        if change:
            before = type(form.instance)._default_manager.get(pk=form.instance.pk)
            form.facts_before = facts_of(before)
        return super().save_form(request, form, change)

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

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        with transaction.atomic():
            self.audit(request, "delete", obj, before=facts_of(obj))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            for row in queryset:
                self.audit(request, "delete", row, before=facts_of(row))
            super().delete_queryset(request, queryset)

    def audit(self, request: HttpRequest, action: str, row: Model, **facts: Any) -> None:
        """One line, named after the model: tenant.change, plan.delete."""
        audit(by=name_of(request), action=f"{self.opts.model_name}.{action}", target=row, **facts)

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

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        with transaction.atomic():
            super().delete_model(request, obj)
            ControlPlaneVersion.bump()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            super().delete_queryset(request, queryset)
            ControlPlaneVersion.bump()


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
