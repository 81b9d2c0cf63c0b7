"""The operators' console for dead letters: find, count by cause, look, edit, send again, give up, export."""

import json
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from ingest.admin.dead_letter_forms import DiscardForm, EventForm, ReplayForm
from ingest.dead_letters.decisions import letters_discard, letters_replay
from ingest.dead_letters.editing import EditRefused, event_text, letter_edit
from ingest.dead_letters.selection import LARGE, letters_by_cause, letters_export
from ingest.models import DeadLetter, DeadLetterAttempt
from tenants.console import ConsoleAdmin, ReadOnlyInline

CAUSES_SHOWN = 10
IDS_AT_ONCE = 1_000
# What the list's query calls the filters of a bulk replay.
_FILTERS = {
    "tenant": "tenant",
    "topic": "topic",
    "rule_name": "rule",
    "fault__exact": "fault",
    "code": "code",
    "status__exact": "letter_status",
}


class AttemptInline(ReadOnlyInline):
    """What was tried, to look at only."""

    model = DeadLetterAttempt
    fields = ("at", "result", "code", "detail", "by")
    readonly_fields = fields


@admin.register(DeadLetter)
class DeadLetterAdmin(ConsoleAdmin):
    """Nothing is added or deleted by hand: workers write letters, the retention deletes them."""

    list_display = ("event_id", "state", "tenant", "topic", "cause", "dead_at", "attempts_made", "next_attempt_at")
    list_filter = (
        "status",
        "fault",
        ("code", admin.AllValuesFieldListFilter),
        ("topic", admin.AllValuesFieldListFilter),
        ("tenant", admin.AllValuesFieldListFilter),
        ("rule_name", admin.AllValuesFieldListFilter),
        ("dead_at", admin.DateFieldListFilter),
    )
    # Exact, for these are what has an index; and the page does not count a table of millions twice.
    search_fields = ("=event_id", "=tenant", "=topic")
    show_full_result_count = False
    actions = ("replay", "discard")
    inlines = (AttemptInline,)
    change_list_template = "admin/ingest/deadletter/change_list.html"
    change_form_template = "admin/ingest/deadletter/change_form.html"
    fieldsets = (
        (None, {"fields": ("event_id", "tenant", "status", "event", "original")}),
        ("Why it died", {"fields": ("fault", "code", "detail", "dead_at", "attempts_made", "unconfirmed")}),
        ("Where it was to go", {"fields": ("topic", "partition", "key_text", "rule_name", "policy_version")}),
        ("What comes next", {"fields": ("next_attempt_at", "route", "requested_by", "bulk", "claimed_until")}),
        ("What became of it", {"fields": ("ended_at", "ended_by", "end_reason", "replayed_to")}),
        ("Where it comes from", {"fields": ("accepted_at", "journal", "sequence", "size_bytes")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        """Without the events: a page of a hundred may be hundreds of MiB."""
        return super().get_queryset(request).defer(*LARGE)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [str(name) for _, options in self.fieldsets for name in options["fields"]]

    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site.admin_view
        return [
            path("export/", site(self.export), name="ingest_deadletter_export"),
            path("<int:letter_id>/edit/", site(self.edit), name="ingest_deadletter_edit"),
            *super().get_urls(),
        ]

    @admin.display(description="status", ordering="status")
    def state(self, letter: DeadLetter) -> str:
        """One word, for a list that is read on a telephone too."""
        return letter.status

    @admin.display(ordering="code")
    def cause(self, letter: DeadLetter) -> str:
        """Whose fault, and its name."""
        return f"{letter.fault}: {letter.code}"

    @admin.display(description="key")
    def key_text(self, letter: DeadLetter) -> str:
        return bytes(letter.key).decode(errors="replace")

    @admin.display
    def event(self, letter: DeadLetter) -> str:
        return _pretty(event_text(letter))

    @admin.display(description="as it was accepted")
    def original(self, letter: DeadLetter) -> str:
        if letter.original_value is None:
            return "It was not edited."
        return _pretty(json.dumps(letter.original_document, indent=2, ensure_ascii=False))

    @admin.display
    def replayed_to(self, letter: DeadLetter) -> str:
        if not letter.replayed_topic:
            return "-"
        return f"{letter.replayed_topic}[{letter.replayed_partition}]@{letter.replayed_offset}"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The list, with the causes of what it shows above it."""
        answer = super().changelist_view(request, extra_context)
        if isinstance(answer, TemplateResponse) and answer.context_data and "cl" in answer.context_data:
            shown: QuerySet[DeadLetter] = answer.context_data["cl"].queryset
            causes = letters_by_cause(letters=shown)
            filters = {ours: request.GET[name] for name, ours in _FILTERS.items() if request.GET.get(name)}
            answer.context_data |= {
                "causes": causes[:CAUSES_SHOWN],
                "more_causes": max(0, len(causes) - CAUSES_SHOWN),
                "bulk_query": urlencode(filters),
            }
        return answer

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """One letter: everything is read here, and changed by its own buttons."""
        if request.method == "POST":
            return self._decide_one(request, object_id)
        kwargs["extra_context"] = {"show_save": False, "show_save_and_continue": False, "show_close": True}
        return super().change_view(request, object_id, *args, **kwargs)

    def _decide_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The buttons of one letter are the list's actions on it alone."""
        chosen = DeadLetter.objects.filter(pk=int(object_id) if object_id.isdecimal() else 0)
        action = {"replay": self.replay, "discard": self.discard}.get(request.POST.get("action", ""))
        if action is None or not self.has_change_permission(request):
            raise PermissionDenied
        return action(request, chosen) or HttpResponseRedirect(request.path)

    @admin.action(description="Send again…", permissions=["change"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Asks where to, then makes them due."""
        form = ReplayForm(request.POST if "apply" in request.POST else None)
        if not form.is_valid():
            return self._ask(request, queryset, form, "replay", "Send again")
        route, by = form.cleaned_data["route"], request.user.get_username()
        count = sum(letters_replay(ids=ids, route=route, by=by) for ids in _ids(queryset))
        self._tell(request, queryset, count, "will be sent again within seconds")
        return None

    @admin.action(description="Discard…", permissions=["change"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Asks why, then gives them up."""
        form = DiscardForm(request.POST if "apply" in request.POST else None)
        if not form.is_valid():
            return self._ask(request, queryset, form, "discard", "Discard")
        reason, by = form.cleaned_data["reason"], request.user.get_username()
        count = sum(letters_discard(ids=ids, reason=reason, by=by) for ids in _ids(queryset))
        self._tell(request, queryset, count, "are discarded")
        return None

    def edit(self, request: HttpRequest, letter_id: int) -> HttpResponse:
        """The event as text; what would not be accepted is refused with the reason."""
        letter = DeadLetter.objects.filter(pk=letter_id).first()
        if letter is None:
            raise Http404
        if not self.has_change_permission(request, letter):
            raise PermissionDenied
        form = EventForm(request.POST or None, initial={"event": event_text(letter)})
        if form.is_valid():
            try:
                letter_edit(letter_id=letter_id, event=form.cleaned_data["event"], by=request.user.get_username())
            except EditRefused as refused:
                form.add_error("event", str(refused))
            else:
                self.log_change(request, letter, "Edited the event; the original is kept.")
                self.message_user(request, "The event is changed; send it again when it is right.")
                return HttpResponseRedirect(reverse("admin:ingest_deadletter_change", args=[letter_id]))
        context = {"form": form, "letter": letter, "title": f"Edit the event of {letter}", "button": "Save the event"}
        return self._page(request, "admin/ingest/deadletter/decide.html", context)

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """What the list shows, as NDJSON."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        shown = self.get_changelist_instance(request).get_queryset(request)
        answer = StreamingHttpResponse(letters_export(letters=shown), content_type="application/x-ndjson")
        answer["Content-Disposition"] = 'attachment; filename="dead-letters.ndjson"'
        return answer

    def _ask(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], form: forms.Form, action: str, button: str
    ) -> HttpResponse:
        context = {
            "form": form,
            "count": queryset.count(),
            "causes": letters_by_cause(letters=queryset)[:CAUSES_SHOWN],
            "title": f"{button}: dead letters",
            "button": button,
            "action": action,
            "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "across": request.POST.get("select_across", "0"),
        }
        return self._page(request, "admin/ingest/deadletter/decide.html", context)

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        about = {"opts": self.opts, "media": self.media} | self.admin_site.each_context(request)
        return TemplateResponse(request, template, about | context)

    def _tell(self, request: HttpRequest, queryset: QuerySet[DeadLetter], count: int, what: str) -> None:
        level = messages.SUCCESS if count else messages.WARNING
        rest = "" if count else ": they are closed already, or on their way this moment"
        self.message_user(request, f"{count} {what}{rest}.", level)


def _ids(queryset: QuerySet[DeadLetter]) -> list[list[int]]:
    """All ids, in portions that one statement takes. Read first: what is changed may leave the list's filter."""
    ids = list(queryset.order_by().values_list("pk", flat=True))
    return [ids[at : at + IDS_AT_ONCE] for at in range(0, len(ids), IDS_AT_ONCE)]


def _pretty(text: str) -> str:
    return format_html('<pre class="dead-letter-event">{}</pre>', text)
