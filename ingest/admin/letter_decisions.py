"""What an operator decides about dead letters: to send them again, or to give them up. What will happen is shown and a
reason asked for before anything does.

Letters are chosen one by one in the list, or are all that its filter shows. The query says which: looking does nothing.
"""

from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render as render_part
from django.urls import reverse

from ingest.admin.dead_letter_forms import DiscardForm, LetterFilterForm, ReplayForm, query_of
from ingest.admin.letter_list import CAUSES_SHOWN, DECIDE, LIST
from ingest.admin.letter_page import PAGE
from ingest.console.pages import console_page, numbers_of, render
from ingest.dead_letters.bulk import letters_destinations
from ingest.dead_letters.decisions import letters_discard, letters_discard_matching, letters_replay
from ingest.dead_letters.routes import Routes
from ingest.dead_letters.selection import OPEN, LetterCriteria, letters_by_cause, letters_select
from ingest.dead_letters.sending import topics_of_cluster
from ingest.models import DeadLetter
from tenants.console import name_of

CHOSEN_MOST = 200


class Chosen(NamedTuple):
    """Either `ids` or, without any, `criteria`; `letters` are those of them that are open."""

    letters: QuerySet[DeadLetter]
    ids: list[int]
    criteria: LetterCriteria | None
    back: str
    """Where whoever decides came from."""


def _chosen(request: HttpRequest) -> Chosen | None:
    """What the query says; None where it says nothing: nobody means all letters by that."""
    ids = numbers_of(request.GET.getlist("letter")[:CHOSEN_MOST])
    if ids:
        query = request.GET.get("back")
        back = reverse(PAGE, args=ids[:1]) if query is None else f"{reverse(LIST)}?{query}"
        return Chosen(DeadLetter.objects.filter(pk__in=ids, status__in=OPEN), ids, None, back)
    form = LetterFilterForm(request.GET)
    if "all" not in request.GET or not form.is_valid():
        return None
    criteria = form.criteria()
    letters = letters_select(criteria=criteria).filter(status__in=OPEN)
    return Chosen(letters, [], criteria, f"{reverse(LIST)}?{query_of(criteria)}")


@console_page(DECIDE)
def replay(request: HttpRequest) -> HttpResponse:
    """Of letters that were chosen one by one; all that a filter shows are a bulk replay's."""
    chosen = _chosen(request)
    if chosen is None or not chosen.ids:
        return _nothing(request, "send again")
    form = ReplayForm(request.POST or None)
    if not form.is_valid():
        return _ask(request, chosen, form, "replay")
    route, reason = form.cleaned_data["route"], form.cleaned_data["reason"]
    count = letters_replay(ids=chosen.ids, route=route, reason=reason, by=name_of(request))
    return _told(request, chosen, count, "will be sent again within seconds")


@console_page(DECIDE)
def destinations(request: HttpRequest) -> HttpResponse:
    """Where chosen letters would go, for the question: the cluster is asked, which may take its time."""
    chosen, found = _chosen(request), {}
    if chosen is not None and chosen.ids:
        routes = Routes(settings.FOREBAY_SNAPSHOT_FILE)
        found = letters_destinations(letters=chosen.letters, routes=routes, topics=topics_of_cluster())
    return render_part(request, "console/letters_destinations.html", {"destinations": sorted(found.items())})


@console_page(DECIDE)
def discard(request: HttpRequest) -> HttpResponse:
    """Of chosen letters, or of all that a filter shows and that were there when it was looked at."""
    chosen = _chosen(request)
    if chosen is None:
        return _nothing(request, "discard")
    newest = chosen.letters.order_by("-pk").values_list("pk", flat=True).first()
    form = DiscardForm(request.POST or None, initial={"last_id": newest or 0})
    if not form.is_valid():
        return _ask(request, chosen, form, "discard")
    reason, by = form.cleaned_data["reason"], name_of(request)
    if chosen.criteria is None:
        count = letters_discard(ids=chosen.ids, reason=reason, by=by)
    else:
        last_id = form.cleaned_data["last_id"]
        count = letters_discard_matching(criteria=chosen.criteria, last_id=last_id, reason=reason, by=by)
    return _told(request, chosen, count, "discarded")


def _ask(request: HttpRequest, chosen: Chosen, form: Any, action: str) -> HttpResponse:
    causes = letters_by_cause(letters=chosen.letters)
    count = sum(cause.letters for cause in causes)
    title = f"{'Send' if action == 'replay' else 'Discard'} {count:,} dead letter{'' if count == 1 else 's'}"
    return render(
        request,
        f"console/letters_{action}.html",
        f"{title} again" if action == "replay" else title,
        chosen=chosen,
        form=form,
        count=count,
        closed=len(chosen.ids) - count if chosen.ids else 0,
        causes=causes[:CAUSES_SHOWN],
        more_causes=max(0, len(causes) - CAUSES_SHOWN),
        retention_days=settings.FOREBAY_DEAD_LETTER_RETENTION_DAYS,
        destinations_url=f"{reverse('admin:ingest_deadletter_destinations')}?{request.GET.urlencode()}",
    )


def _nothing(request: HttpRequest, what: str) -> HttpResponse:
    messages.warning(request, f"Choose what to {what} first: letters of the list, or a filter.")
    return HttpResponseRedirect(reverse(LIST))


def _told(request: HttpRequest, chosen: Chosen, count: int, what: str) -> HttpResponse:
    if count:
        messages.success(request, f"{count:,} dead letter{'' if count == 1 else 's'} {what}.")
    else:
        messages.warning(request, "Nothing was done: they are closed already, or on their way this moment.")
    return HttpResponseRedirect(chosen.back)
