"""The operators' console for the audit log: who did what, why, and what it was before. To read and to export."""

import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter, TextFilter
from unfold.paginator import InfinitePaginator

from tenants.audit import audit, known_values
from tenants.console import ReadOnlyAdmin, name_of
from tenants.models import AuditEntry

ROWS_AT_ONCE = 1_000
_SHORT_CHARACTERS = 60
_SHORT_FIELDS = 4


class _Exactly:
    """By the whole value, for which there is an index."""

    parameter_name: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        value = self.value()  # type: ignore[attr-defined]  # of the filter beside it
        return queryset.filter(**{self.parameter_name: value}) if value else queryset


class WhoFilter(_Exactly, DropdownFilter):  # type: ignore[misc]  # unfold ships no types
    title, parameter_name = "who", "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in known_values("by")]


class WhatFilter(_Exactly, DropdownFilter):  # type: ignore[misc]  # as above
    title, parameter_name = "what", "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action, action) for action in known_values("action")]


class OfWhatFilter(_Exactly, TextFilter):  # type: ignore[misc]  # as above
    title, parameter_name = "name of what it was done to", "target"


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Newest first."""

    list_display = ("when", "by", "action", "target", "reason", "in_short")
    list_filter = (WhoFilter, WhatFilter, OfWhatFilter, ("at", RangeDateTimeFilter))
    sortable_by = ()
    show_full_result_count = False
    paginator = InfinitePaginator  # counting all lines would read them all
    list_per_page = 50
    empty_says = "Each change that somebody makes here, or with a command, leaves a line."
    fieldsets = (
        (None, {"fields": ("when", "by", "action", "target", "reason")}),
        ("What changed", {"fields": ("changes",)}),
    )
    readonly_fields = ("when", "changes")
    change_list_template = "console/audit_log.html"

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("export/", export, name="tenants_auditentry_export"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A line has no history of its own."""
        answer: HttpResponse = super().change_view(request, object_id, form_url, {"show_history": False})
        return answer

    @admin.display
    def when(self, entry: AuditEntry) -> str:
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="before and after")
    def in_short(self, entry: AuditEntry) -> SafeString:
        """A few fields, so that most lines need not be opened."""
        changes = list(_changes(entry))
        lines = [(name, _short(before), _short(after)) for name, before, after in changes[:_SHORT_FIELDS]]
        more = f"and {len(changes) - _SHORT_FIELDS} more" if len(changes) > _SHORT_FIELDS else ""
        shown = format_html_join("", '<div class="fb-change"><b>{}</b> <del>{}</del> <ins>{}</ins></div>', lines)
        return format_html('<div class="fb-changes">{}{}</div>', shown, more)

    @admin.display(description="before and after")
    def changes(self, entry: AuditEntry) -> SafeString:
        """A line for each side of each field; what was long stays whole."""
        lines = [
            format_html("<{0}>{1} {2}: {3}</{0}>\n", tag, sign, name, _json(value))
            for name, before, after in _changes(entry)
            for tag, sign, value in (("del", "-", before), ("ins", "+", after))
            if value is not None
        ]
        shown = format_html_join("", "{}", ((line,) for line in lines)) or "Nothing but the fact."
        return format_html('<pre class="fb-pre">{}</pre>', shown)

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """What the list shows, as NDJSON. Reading so much at once is itself on record."""
        if not request.user.has_perm("tenants.export_auditentry"):
            raise PermissionDenied
        shown = self.get_changelist_instance(request).get_queryset(request).order_by("pk")
        filters = {"filters": request.GET.urlencode()}
        audit(by=name_of(request), action="audit.export", target="audit log", after=filters)
        answer = StreamingHttpResponse(_ndjson(shown), content_type="application/x-ndjson")
        answer["Content-Disposition"] = 'attachment; filename="audit-log.ndjson"'
        return answer


def _changes(entry: AuditEntry) -> Iterator[tuple[str, Any, Any]]:
    """By field; None on a side that does not have it. What is empty or 0 on both tells nothing."""
    before, after = entry.before or {}, entry.after or {}
    for name in dict.fromkeys([*before, *after]):
        sides = before.get(name), after.get(name)
        if any(sides):
            yield name, *sides


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json(value)
    return text if len(text) <= _SHORT_CHARACTERS else text[: _SHORT_CHARACTERS - 1] + "…"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _ndjson(entries: Any) -> Iterator[str]:
    for entry in entries.iterator(chunk_size=ROWS_AT_ONCE):
        row = {name: getattr(entry, name) for name in ("by", "action", "target", "reason", "before", "after")}
        yield json.dumps({"at": entry.at.isoformat(), **row}, ensure_ascii=False) + "\n"
