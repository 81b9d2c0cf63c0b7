"""The operators' console for the audit log: who did what, why, and what it was before. To read and to export."""

import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RangeDateTimeFilter

from tenants.audit import audit
from tenants.console import ReadOnlyAdmin, name_of
from tenants.models import AuditEntry

ROWS_AT_ONCE = 1_000


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Newest first."""

    list_display = ("when", "by", "action", "target", "reason")
    list_filter = ("action", ("at", RangeDateTimeFilter))
    search_fields = ("=by", "=target")
    search_help_text = "The whole name of a person, or of what was changed."
    show_full_result_count = False
    list_per_page = 50
    fieldsets = (
        (None, {"fields": ("at", "by", "action", "target", "reason")}),
        ("What changed", {"fields": ("changes",)}),
    )
    readonly_fields = ("changes",)
    change_list_template = "console/audit_log.html"

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("export/", export, name="tenants_auditentry_export"), *super().get_urls()]

    @admin.display(ordering="at")
    def when(self, entry: AuditEntry) -> str:
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="before and after")
    def changes(self, entry: AuditEntry) -> SafeString:
        """A line for each field; what was long stays whole."""
        before, after = entry.before or {}, entry.after or {}
        names = dict.fromkeys([*before, *after])
        lines = [_side("-", name, before) + _side("+", name, after) for name in names]
        return format_html('<pre class="fb-pre">{}</pre>', "".join(lines) or "nothing but the fact")

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


def _side(sign: str, name: str, facts: dict[str, Any]) -> str:
    return f"{sign} {name}: {json.dumps(facts[name], ensure_ascii=False)}\n" if name in facts else ""


def _ndjson(entries: Any) -> Iterator[str]:
    for entry in entries.iterator(chunk_size=ROWS_AT_ONCE):
        row = {name: getattr(entry, name) for name in ("by", "action", "target", "reason", "before", "after")}
        yield json.dumps({"at": entry.at.isoformat(), **row}, ensure_ascii=False) + "\n"
