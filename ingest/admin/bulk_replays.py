"""The operators' console for bulk replays: plan, see what it would do, start, watch, pause, go on, cancel."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ingest.admin.dead_letter_forms import BulkReplayForm
from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.routes import Routes
from ingest.dead_letters.selection import criteria_from
from ingest.dead_letters.sending import topics_of_cluster
from ingest.models import BulkReplay, BulkStatus
from tenants.console import ConsoleAdmin

STEPS = {
    "start": bulks.bulk_start,
    "pause": bulks.bulk_pause,
    "resume": bulks.bulk_resume,
    "cancel": bulks.bulk_cancel,
}
_STEPS_FROM = {
    BulkStatus.PLANNED: ("start", "cancel"),
    BulkStatus.RUNNING: ("pause", "cancel"),
    BulkStatus.PAUSED: ("resume", "cancel"),
}
_SHOWN = (
    "status",
    "letters_that_match",
    "route",
    "charges_quota",
    "reason",
    "forecast",
    "progress",
    "created_by",
    "created_at",
    "started_at",
    "ended_at",
)


@admin.register(BulkReplay)
class BulkReplayAdmin(ConsoleAdmin):
    """A plan is made here or from the list of dead letters; the Celery worker carries it out."""

    form = BulkReplayForm
    list_display = ("__str__", "status", "letters_that_match", "progress", "created_by", "created_at")
    list_filter = ("status",)
    change_form_template = "admin/ingest/bulkreplay/change_form.html"
    add_fieldsets = (
        ("Which letters", {"fields": ("tenant", "topic", "rule", "fault", "code", "letter_status")}),
        ("How", {"fields": ("route", "charges_quota", "reason")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if obj is None else ((None, {"fields": _SHOWN}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else _SHOWN

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="letters")
    def letters_that_match(self, bulk: BulkReplay) -> str:
        return str(criteria_from(bulk.criteria))

    @admin.display
    def progress(self, bulk: BulkReplay) -> str:
        """In words, for a list as for a page."""
        now = bulks.bulk_progress(bulk=bulk)
        return (
            f"{now.replayed} of {now.planned} replayed, {now.waiting} waiting, {now.to_come} to come,"
            f" {now.exhausted} failed, {now.discarded} discarded"
        )

    @admin.display
    def forecast(self, bulk: BulkReplay) -> str:
        """What it would do if it were started now."""
        if bulk.status != BulkStatus.PLANNED:
            return "-"
        plan = bulks.bulk_forecast(bulk=bulk, routes=Routes(settings.FOREBAY_SNAPSHOT_FILE), topics=topics_of_cluster())
        where = ", ".join(f"{topic}: {count}" for topic, count in sorted(plan.destinations.items()))
        sample = f" (of the first {plan.sampled})" if plan.sampled < plan.events else ""
        quota = "takes from the tenants' quotas" if plan.charges_quota else "takes nothing from quotas"
        size = f"{plan.events} events, {plan.bytes} bytes"
        return f"{size}; to {where}{sample}; {plan.estimated_s:.0f} s at least; {quota}"

    def save_model(self, request: HttpRequest, obj: BulkReplay, form: Any, change: bool) -> None:
        """A plan needs letters; the row comes from the service."""
        bulk = bulks.bulk_plan(
            criteria=form.criteria(),
            route=obj.route,
            charges_quota=obj.charges_quota,
            reason=obj.reason,
            by=request.user.get_username(),
        )
        obj.pk = bulk.pk
        obj.refresh_from_db()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """What the service refuses is said above the form."""
        try:
            return super().add_view(request, form_url, extra_context)
        except bulks.BulkRefused as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def response_add(self, request: HttpRequest, obj: BulkReplay, post_url_continue: Any = None) -> HttpResponse:
        """On to what it would do."""
        self.message_user(request, "It is planned; nothing is sent before you start it.")
        return HttpResponseRedirect(reverse("admin:ingest_bulkreplay_change", args=[obj.pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Its state, and buttons for what can be done now."""
        if request.method == "POST":
            return self._step(request, object_id)
        bulk = self.get_object(request, object_id)
        steps = _STEPS_FROM.get(bulk.status, ()) if bulk is not None and self.has_change_permission(request) else ()
        hidden = {"show_save": False, "show_save_and_continue": False, "show_save_and_add_another": False}
        return super().change_view(request, object_id, form_url, {"steps": steps, **hidden, "show_close": True})

    def _step(self, request: HttpRequest, object_id: str) -> HttpResponse:
        bulk, step = self.get_object(request, object_id), STEPS.get(request.POST.get("step", ""))
        if bulk is None or step is None or not self.has_change_permission(request, bulk):
            raise PermissionDenied
        try:
            step(bulk=bulk)
        except bulks.BulkRefused as refused:
            self.message_user(request, str(refused), messages.ERROR)
        else:
            self.log_change(request, bulk, f"It is {bulk.status} now.")
            self.message_user(request, f"It is {bulk.status} now.")
        return HttpResponseRedirect(request.path)
