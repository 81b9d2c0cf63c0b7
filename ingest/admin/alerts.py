"""The operators' console for incidents: open ones first, with who was told when. One may only say `I am at it`."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from ingest.alerts.incidents import incident_acknowledge
from ingest.alerts.kinds import runbook_link
from ingest.models import Incident, Notification
from tenants.console import ConsoleAdmin, ReadOnlyInline


class IsOpen(admin.SimpleListFilter):
    """Open or ended."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("ended", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        return queryset if wanted is None else queryset.filter(ended_at__isnull=wanted == "open")


class NotificationInline(ReadOnlyInline):
    """Who was told when; or why not yet, and when it is tried again."""

    model = Notification
    fields = ("event", "channel", "sent_at", "attempts", "last_error", "tried_next_at")
    readonly_fields = fields

    @admin.display
    def tried_next_at(self, notification: Notification) -> Any:
        return None if notification.sent_at else notification.next_attempt_at


@admin.register(Incident)
class IncidentAdmin(ConsoleAdmin):
    """What is not as it should be, and what was."""

    list_display = ("kind", "about", "since", "ended", "told_at", "acknowledged_by")
    list_filter = (IsOpen, "severity", "kind")
    search_fields = ("subject", "value")
    date_hierarchy = "opened_at"
    fields = (
        *("kind", "subject", "severity", "value", "what_to_do"),
        *("opened_at", "last_seen_at", "clear_since", "ended_at", "acknowledged_by", "acknowledged_at"),
    )
    readonly_fields = fields
    inlines = (NotificationInline,)
    actions = ("acknowledge",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        incidents: QuerySet[Incident] = super().get_queryset(request)
        return incidents.prefetch_related("notifications")

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        return (F("ended_at").desc(nulls_first=True), "-opened_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(ordering="subject")
    def about(self, incident: Incident) -> str:
        """Subject and value in one column: times must fit beside them."""
        return format_html("{}<br>{}", incident.subject, incident.value)

    @admin.display(ordering="opened_at")
    def since(self, incident: Incident) -> str:
        return f"{incident.opened_at:%b %d %H:%M}"

    @admin.display(ordering="ended_at")
    def ended(self, incident: Incident) -> str:
        return f"{incident.ended_at:%b %d %H:%M}" if incident.ended_at else "open"

    @admin.display(description="told")
    def told_at(self, incident: Incident) -> str:
        """When the opening went out, by channel."""
        return ", ".join(
            f"{row.get_channel_display()} {row.sent_at:%H:%M}" if row.sent_at else f"{row.channel}: not yet"
            for row in incident.notifications.all()
            if row.event == Notification.Event.OPENED
        )

    @admin.display
    def what_to_do(self, incident: Incident) -> str:
        """A link where the runbook is on the web; a name where it is a file."""
        link = runbook_link(settings.FOREBAY_RUNBOOK_URL, incident.kind)
        return format_html('<a href="{0}">{0}</a>', link) if "://" in link else link

    @admin.action(description="Acknowledge: I am at it", permissions=["change"])
    def acknowledge(self, request: HttpRequest, incidents: QuerySet[Incident]) -> None:
        """The first name stays."""
        by, at = request.user.get_username(), timezone.now()
        done = sum(incident_acknowledge(incident=incident, by=by, at=at) for incident in incidents)
        messages.success(request, f"{done} acknowledged by {by}.")
