"""The operators' console for rejected events that a plan keeps: to look at, and to delete before their time."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse

from ingest.admin.dead_letter_forms import moment_field
from ingest.console.pages import console_page, number_of, numbers_of, render
from ingest.dataplane.errors import EventRejected
from ingest.models import QuarantinedEvent
from ingest.quarantined import QuarantineCriteria, quarantined_delete, quarantined_select
from tenants.console import ReadOnlyAdmin, name_of
from tenants.forms import ReasonForm

EVENTS_A_PAGE = 50
CHOSEN_MOST = 200
# More than so many are not counted before they are deleted.
COUNTED_MOST = 100_000
VIEW, DELETE = "ingest.view_quarantinedevent", "ingest.delete_quarantinedevent"
LIST = "admin:ingest_quarantinedevent_changelist"
_CODES = [("", "any"), *((code, code) for code in sorted(EventRejected.codes))]


class QuarantineForm(forms.Form):
    """Which rejected events: a field for each of `QuarantineCriteria`."""

    tenant = forms.CharField(required=False)
    code = forms.ChoiceField(choices=_CODES, required=False)
    correlation_id = forms.CharField(label="Correlation id", required=False)
    sha256 = forms.CharField(label="SHA-256", required=False)
    received_from = moment_field("Received at or after (UTC)")
    received_before = moment_field("Received before (UTC)")

    def criteria(self) -> QuarantineCriteria:
        """What was filled in; the form must be valid."""
        return QuarantineCriteria(**self.cleaned_data)


@admin.register(QuarantinedEvent)
class QuarantinedEventAdmin(ReadOnlyAdmin):
    """Nothing here can be changed: it is what somebody sent."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path("", events, name="ingest_quarantinedevent_changelist"),
            path("delete/", delete, name="ingest_quarantinedevent_delete"),
            path("<int:event_id>/change/", event, name="ingest_quarantinedevent_change"),
        ]


@console_page(VIEW)
def events(request: HttpRequest) -> HttpResponse:
    """Newest first. A filter that is none says so, and nothing is listed."""
    form = QuarantineForm(request.GET)
    if not form.is_valid():
        answer = render(request, "console/quarantine.html", "Quarantine", form=form)
        answer.status_code = 400
        return answer
    criteria, before = form.criteria(), number_of(request.GET.get("before", ""))
    found = quarantined_select(criteria=criteria)
    if before is not None:
        found = found.filter(pk__lt=before)
    page = list(found[: EVENTS_A_PAGE + 1])
    query = _query(criteria)
    return render(
        request,
        "console/quarantine.html",
        "Quarantine",
        form=form,
        events=page[:EVENTS_A_PAGE],
        query=query,
        is_narrowed=bool(query),
        older=page[EVENTS_A_PAGE - 1].pk if len(page) > EVENTS_A_PAGE else None,
        may_delete=request.user.has_perm(DELETE),
    )


def _query(criteria: QuarantineCriteria) -> str:
    asked: dict[str, Any] = msgspec.structs.asdict(criteria)
    moments = {name: f"{asked[name]:%Y-%m-%dT%H:%M:%S}" for name in ("received_from", "received_before") if asked[name]}
    return urlencode({name: value for name, value in (asked | moments).items() if value})


@console_page(VIEW)
def event(request: HttpRequest, event_id: int) -> HttpResponse:
    """What was kept of it. Nobody changes it, so nothing is taken here."""
    if request.method != "GET":
        raise PermissionDenied
    found = get_object_or_404(QuarantinedEvent, pk=event_id)
    may_delete = request.user.has_perm(DELETE)
    return render(request, "console/quarantined.html", f"Rejected event {found.pk}", event=found, may_delete=may_delete)


class Chosen(NamedTuple):
    """Which ones, and in words."""

    events: QuerySet[QuarantinedEvent]
    about: str
    back: str


def _chosen(request: HttpRequest) -> Chosen | None:
    """What the query says; None where it says nothing: nobody means all of them by that."""
    ids = numbers_of(request.GET.getlist("event")[:CHOSEN_MOST])
    if ids:
        about = f"numbers {', '.join(map(str, ids))}"
        return Chosen(QuarantinedEvent.objects.filter(pk__in=ids), about, request.GET.get("back", ""))
    form = QuarantineForm(request.GET)
    if "all" not in request.GET or not form.is_valid() or not _query(form.criteria()):
        return None
    criteria = form.criteria()
    return Chosen(quarantined_select(criteria=criteria), str(criteria), _query(criteria))


@console_page(DELETE)
def delete(request: HttpRequest) -> HttpResponse:
    """Of chosen ones, or of all that a filter shows; asks why first."""
    chosen = _chosen(request)
    if chosen is None:
        messages.warning(request, "Choose what to delete first: events of the list, or a filter.")
        return HttpResponseRedirect(reverse(LIST))
    form = ReasonForm(request.POST or None)
    if not form.is_valid():
        count = chosen.events.order_by()[: COUNTED_MOST + 1].count()
        title = f"Delete {count:,} rejected event{'' if count == 1 else 's'}"
        return render(request, "console/quarantine_delete.html", title, chosen=chosen, form=form, count=count)
    reason, by = form.cleaned_data["reason"], name_of(request)
    count = quarantined_delete(events=chosen.events, about=chosen.about, reason=reason, by=by)
    messages.success(request, f"{count:,} rejected event{'' if count == 1 else 's'} deleted.")
    return HttpResponseRedirect(f"{reverse(LIST)}?{chosen.back}")
