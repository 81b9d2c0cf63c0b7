"""The operators' console for bulk replays: plan, see what it would do, start, watch, pause, go on, cancel.

A plan is made here or from the list of dead letters; the Celery worker carries it out. Each step shows what it will do
and asks why.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.shortcuts import render as render_part
from django.urls import URLPattern, path, reverse

from ingest.admin.dead_letter_forms import BulkReplayForm, query_of
from ingest.admin.letter_list import CAUSES_SHOWN
from ingest.console.pages import console_page, number_of, render
from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.progress import bulks_progress, is_overdue
from ingest.dead_letters.routes import Routes
from ingest.dead_letters.selection import ANY_OPEN, LetterCriteria, criteria_from, letters_counted
from ingest.dead_letters.sending import topics_of_cluster
from ingest.models import BulkReplay, BulkStatus
from tenants.console import ReadOnlyAdmin, name_of
from tenants.forms import ReasonForm

BULKS_A_PAGE = 20
VIEW, PLAN, STEP = "ingest.view_bulkreplay", "ingest.add_bulkreplay", "ingest.change_bulkreplay"
PAGE = "admin:ingest_bulkreplay_change"


class Step(NamedTuple):
    """What an operator can tell a bulk replay; `effect` is what the question says."""

    verb: str
    service: Callable[..., None]
    button: str
    effect: str
    is_dangerous: bool = False


_START = Step("start", bulks.bulk_start, "Start", "It begins to send within seconds, and Kafka keeps what it has sent.")
_PAUSE = Step(
    "pause", bulks.bulk_pause, "Pause", "What is in a sender's hands is finished, then nothing more until it goes on."
)
_RESUME = Step("resume", bulks.bulk_resume, "Go on", "It goes on where it was paused.")
_CANCEL = Step(
    "cancel",
    bulks.bulk_cancel,
    "Cancel",
    "Nothing more of it is sent, for good. What was not sent is what it was before; what was sent stays in Kafka.",
    is_dangerous=True,
)
STEPS = {
    BulkStatus.PLANNED: (_START, _CANCEL),
    BulkStatus.RUNNING: (_PAUSE, _CANCEL),
    BulkStatus.PAUSED: (_RESUME, _CANCEL),
}


@admin.register(BulkReplay)
class BulkReplayAdmin(ReadOnlyAdmin):
    """Pages of its own under the names that the admin gives to a model's, so that menus and links find them."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path("", bulk_list, name="ingest_bulkreplay_changelist"),
            path("add/", plan, name="ingest_bulkreplay_add"),
            path("<int:bulk_id>/change/", bulk_page, name="ingest_bulkreplay_change"),
            path("<int:bulk_id>/live/", bulk_live, name="ingest_bulkreplay_live"),
            path("<int:bulk_id>/forecast/", bulk_forecast, name="ingest_bulkreplay_forecast"),
            path("<int:bulk_id>/<slug:verb>/", bulk_step, name="ingest_bulkreplay_step"),
        ]


@console_page(VIEW)
def bulk_list(request: HttpRequest) -> HttpResponse:
    """Newest first, each with how far it has come."""
    before = number_of(request.GET.get("before", ""))
    found = BulkReplay.objects.order_by("-pk")
    found = found if before is None else found.filter(pk__lt=before)
    page = list(found[: BULKS_A_PAGE + 1])
    older = page[BULKS_A_PAGE - 1].pk if len(page) > BULKS_A_PAGE else None
    bars = bulks_progress(bulks=page[:BULKS_A_PAGE])
    rows = [{"bulk": bulk, "bar": bars[bulk.pk], "about": _about(bulk)} for bulk in page[:BULKS_A_PAGE]]
    return render(
        request, "console/bulks.html", "Bulk replays", rows=rows, older=older, may_plan=request.user.has_perm(PLAN)
    )


def _about(bulk: BulkReplay) -> str:
    return str(_criteria(bulk))


def _criteria(bulk: BulkReplay) -> LetterCriteria:
    """Any open letter is one that no status was asked of."""
    criteria = criteria_from(bulk.criteria)
    return msgspec.structs.replace(criteria, status="") if criteria.status == ANY_OPEN else criteria


@console_page(PLAN)
def plan(request: HttpRequest) -> HttpResponse:
    """The list's filters, filled in as the list has them; what they match now is counted before anything is planned."""
    form = BulkReplayForm(request.POST if request.method == "POST" else _filled(request))
    is_valid = form.is_valid()
    if request.method == "POST" and is_valid:
        try:
            return _planned(request, form)
        except bulks.BulkRefused as refused:
            form.add_error(None, str(refused))
    if request.method != "POST":
        form.errors.pop("reason", None)
        form.errors.pop("route", None)
    return render(request, "console/bulk_plan.html", "Plan a bulk replay", form=form, **_matching(form))


def _filled(request: HttpRequest) -> dict[str, Any]:
    route = BulkReplayForm.base_fields["route"].initial
    return {"route": route, **request.GET.dict(), "form_token": uuid4()}


def _matching(form: BulkReplayForm) -> dict[str, Any]:
    """What the filters mean, if they mean anything."""
    if any(name in form.errors for name in LetterCriteria.__struct_fields__):
        return {}
    criteria = form.criteria()
    counted = letters_counted(criteria=criteria)
    return {
        "counted": counted,
        "causes": counted.causes[:CAUSES_SHOWN],
        "more_causes": max(0, len(counted.causes) - CAUSES_SHOWN),
        "query": query_of(criteria),
    }


def _planned(request: HttpRequest, form: BulkReplayForm) -> HttpResponse:
    bulk = bulks.bulk_plan(
        criteria=form.criteria(),
        route=form.cleaned_data["route"],
        charges_quota=form.cleaned_data["charges_quota"],
        form_token=form.cleaned_data["form_token"],
        reason=form.cleaned_data["reason"],
        by=name_of(request),
    )
    messages.success(request, "It is planned: nothing is sent before you start it.")
    return HttpResponseRedirect(reverse(PAGE, args=[bulk.pk]))


@console_page(VIEW)
def bulk_page(request: HttpRequest, bulk_id: int) -> HttpResponse:
    """What it does, and how far it has come."""
    bulk = get_object_or_404(BulkReplay, pk=bulk_id)
    return render(request, "console/bulk.html", f"Bulk replay {bulk.pk}", **_now(request, bulk))


@console_page(VIEW)
def bulk_live(request: HttpRequest, bulk_id: int) -> HttpResponse:
    """What htmx swaps in every two seconds while it runs."""
    bulk = get_object_or_404(BulkReplay, pk=bulk_id)
    return render_part(request, "console/bulk_live.html", _now(request, bulk))


def _now(request: HttpRequest, bulk: BulkReplay) -> dict[str, Any]:
    bar = bulks_progress(bulks=[bulk])[bulk.pk]
    criteria = _criteria(bulk)
    steps = STEPS.get(BulkStatus(bulk.status), ()) if request.user.has_perm(STEP) else ()
    return {
        "bulk": bulk,
        "bar": bar,
        "about": str(criteria),
        "query": query_of(msgspec.structs.replace(criteria, status=criteria.status or ANY_OPEN)),
        "steps": steps,
        "is_stuck": _is_stuck(bulk),
        "left_s": (bar.to_come + bar.waiting) / settings.FOREBAY_REPLAY_MAX_EVENTS_PER_S,
        "max_per_s": settings.FOREBAY_REPLAY_MAX_EVENTS_PER_S,
    }


def _is_stuck(bulk: BulkReplay) -> bool:
    """Running, and no sweep has taken it up, though several were due."""
    return bulk.status == BulkStatus.RUNNING and not bulk.enlisted_events and is_overdue(bulk.started_at)


@console_page(VIEW)
def bulk_forecast(request: HttpRequest, bulk_id: int) -> HttpResponse:
    """What it would do if it were started now: the cluster is asked for its topics, which may take its time."""
    bulk = get_object_or_404(BulkReplay, pk=bulk_id)
    topics = topics_of_cluster()
    forecast = bulks.bulk_forecast(bulk=bulk, routes=Routes(settings.FOREBAY_SNAPSHOT_FILE), topics=topics)
    context = {
        "bulk": bulk,
        "forecast": forecast,
        "destinations": sorted(forecast.destinations.items()),
        "is_kafka_away": topics is None,
    }
    return render_part(request, "console/bulk_forecast.html", context)


@console_page(STEP)
def bulk_step(request: HttpRequest, bulk_id: int, verb: str) -> HttpResponse:
    """The question before a step, and the step."""
    bulk = get_object_or_404(BulkReplay, pk=bulk_id)
    step = next((one for steps in STEPS.values() for one in steps if one.verb == verb), None)
    if step is None:
        raise Http404
    # The plan says already why; whoever stops it says why it is stopped.
    form = ReasonForm(request.POST or None, initial={"reason": bulk.reason if step is _START else ""})
    if not form.is_valid():
        title = f"{step.button}: bulk replay {bulk.pk}"
        return render(request, "console/bulk_step.html", title, step=step, form=form, **_now(request, bulk))
    try:
        step.service(bulk=bulk, by=name_of(request), reason=form.cleaned_data["reason"])
        messages.success(request, f"Bulk replay {bulk.pk} is {bulk.status} now.")
    except bulks.BulkRefused as refused:
        messages.error(request, str(refused))
    return HttpResponseRedirect(reverse(PAGE, args=[bulk.pk]))
