"""The operators' console for incidents: open ones first, with who was told when. One may only say `I am at it`."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from unfold.decorators import display

from ingest.alerts.incidents import incident_acknowledge
from ingest.alerts.kinds import TITLES, Kind
from ingest.console.runbook import runbook_of
from ingest.heartbeats import breaker_name
from ingest.models import Incident, Notification
from tenants.console import ReadOnlyAdmin, ReadOnlyInline, name_of

_TOPIC = breaker_name("*").removesuffix("*")
_JOURNALS, _LETTERS = ("console:journals", "Journals"), ("admin:ingest_deadletter_changelist", "Dead letters by cause")
# The page that shows most of what an alert is about; of all others the overview does.
_PAGES: dict[str, tuple[str, str]] = {
    Kind.BUFFER_FILLING: _JOURNALS,
    Kind.DISK_FILLING: _JOURNALS,
    Kind.JOURNAL_DAMAGED: _JOURNALS,
    Kind.WORKER_MISSING: _JOURNALS,
    Kind.BREAKER_NOT_CLOSED: ("console:breakers", "Breakers and topics"),
    Kind.DELIVERY_ERRORS: _LETTERS,
    Kind.DEAD_LETTERS_AGEING: _LETTERS,
    Kind.LEDGER_MISMATCH: ("admin:ingest_ledgerminute_changelist", "Ledger"),
}


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
class IncidentAdmin(ReadOnlyAdmin):
    """What is not as it should be, and what was."""

    list_display = ("what", "state", "urgency", "about", "since", "ended", "told_at", "acknowledged_by")
    list_filter = (IsOpen, "severity", "kind")
    search_fields = ("subject", "value")
    date_hierarchy = "opened_at"
    empty_says = "No alert has opened yet. docs/alerts.md says which there are, and who is told."
    fields = (
        *("kind", "subject", "severity", "value", "what_to_do", "where_to_look"),
        *("opened_at", "last_seen_at", "clear_since", "ended_at", "acknowledged_by", "acknowledged_at"),
    )
    readonly_fields = fields
    inlines = (NotificationInline,)
    actions = ("acknowledge",)
    change_form_outer_before_template = "console/breakers_acknowledge.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        incidents: QuerySet[Incident] = super().get_queryset(request)
        return incidents.prefetch_related("notifications")

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        return (F("ended_at").desc(nulls_first=True), "-opened_at")

    def get_urls(self) -> list[URLPattern]:
        acknowledge = self.admin_site.admin_view(require_POST(self.acknowledge_one))
        return [
            path("<int:pk>/acknowledge/", acknowledge, name="ingest_incident_acknowledge"),
            *super().get_urls(),
        ]

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        """All that anybody may do to an incident."""
        return bool(request.user.has_perm("ingest.change_incident"))

    @admin.display(description="what", ordering="kind")
    def what(self, incident: Incident) -> str:
        return TITLES[Kind(incident.kind)] if incident.kind in TITLES else incident.kind

    @display(label={"open": "danger", "ended": "success"})  # type: ignore[untyped-decorator]  # unfold ships no types
    def state(self, incident: Incident) -> str:
        return "ended" if incident.ended_at else "open"

    @display(ordering="severity", label={"page": "warning", "ticket": "info"})  # type: ignore[untyped-decorator]  # as above
    def urgency(self, incident: Incident) -> str:
        return incident.severity

    @admin.display(ordering="subject")
    def about(self, incident: Incident) -> str:
        """Subject and value in one column: times must fit beside them."""
        return format_html("{}<br>{}", incident.subject, incident.value)

    @admin.display(ordering="opened_at")
    def since(self, incident: Incident) -> str:
        return f"{incident.opened_at:%b %d %H:%M}"

    @admin.display(ordering="ended_at")
    def ended(self, incident: Incident) -> str:
        return f"{incident.ended_at:%b %d %H:%M}" if incident.ended_at else "-"

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
        """Its section of the runbook."""
        return format_html('<a class="fb-link" href="{}">Runbook: {}</a>', runbook_of(incident.kind), incident.kind)

    @admin.display
    def where_to_look(self, incident: Incident) -> str:
        """The console's page that shows what it is about."""
        link, name = _page_about(incident)
        return format_html('<a class="fb-link" href="{}">{}</a>', link, name)

    @admin.action(description="Acknowledge: I am at it", permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, incidents: QuerySet[Incident]) -> None:
        """The first name stays."""
        by, at = name_of(request), timezone.now()
        done = sum(incident_acknowledge(incident=incident, by=by, at=at) for incident in incidents)
        messages.success(request, f"{done} acknowledged by {by}.")

    def acknowledge_one(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The button on an incident's own page."""
        if not self.has_acknowledge_permission(request):
            raise PermissionDenied
        self.acknowledge(request, Incident.objects.filter(pk=get_object_or_404(Incident, pk=pk).pk))
        return HttpResponseRedirect(reverse("admin:ingest_incident_change", args=[pk]))


def _page_about(incident: Incident) -> tuple[str, str]:
    """Its address and its name."""
    topic = _topic_of(incident)
    if topic:
        return reverse("console:topic", args=[topic]), f"Topic {topic}"
    name, title = _PAGES.get(incident.kind, ("admin:index", "Overview"))
    return reverse(name), title


def _topic_of(incident: Incident) -> str:
    if incident.kind == Kind.TOPIC_PARKED:
        return incident.subject.partition(" of ")[0]
    if incident.kind in (Kind.BREAKER_NOT_CLOSED, Kind.TOPIC_BEHIND) and incident.subject.startswith(_TOPIC):
        return incident.subject.removeprefix(_TOPIC)
    return ""
