"""The operators' list of dead letters: what they died of first, for 40,000 letters are three problems; then each.

A page costs the same few queries however many there are: no COUNT over the table, no OFFSET, no list of all values.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

from ingest.admin.dead_letter_forms import LetterFilterForm, query_of
from ingest.console.pages import console_page, number_of, render
from ingest.dead_letters.selection import (
    ANY_OPEN,
    OPEN,
    Cause,
    LetterCriteria,
    letters_counted,
    letters_export,
    letters_page,
    letters_select,
)
from tenants.audit import audit
from tenants.console import name_of

LETTERS_A_PAGE = 50
CAUSES_SHOWN = 12
VIEW, DECIDE, PLAN = "ingest.view_deadletter", "ingest.change_deadletter", "ingest.add_bulkreplay"
LIST = "admin:ingest_deadletter_changelist"


@console_page(VIEW)
def letters(request: HttpRequest) -> HttpResponse:
    """The list. A filter that is none says so, and nothing is listed."""
    form = LetterFilterForm(request.GET)
    found = _found(request, form.criteria()) if form.is_valid() else {}
    answer = render(request, "console/letters.html", "Dead letters", form=form, **found)
    if form.errors:
        answer.status_code = 400
    return answer


def _found(request: HttpRequest, criteria: LetterCriteria) -> dict[str, Any]:
    counted = letters_counted(criteria=criteria)
    page, older = _page(criteria, request.GET.get("before", ""))
    may_decide = request.user.has_perm(DECIDE)
    # Nothing can become of closed letters, so what the list shows with them is not what would be done.
    are_open = criteria.status in (ANY_OPEN, *OPEN)
    return {
        "causes": [_cause(criteria, cause) for cause in counted.causes[:CAUSES_SHOWN]],
        "more_causes": max(0, len(counted.causes) - CAUSES_SHOWN),
        "counted": counted,
        "letters": page,
        "is_narrowed": criteria not in (LetterCriteria(), LetterCriteria(status=ANY_OPEN)),
        "query": query_of(criteria),
        "older": older,
        "may_decide": may_decide,
        "may_discard_all": may_decide and are_open,
        "may_plan": are_open and request.user.has_perm(PLAN),
    }


def _cause(criteria: LetterCriteria, cause: Cause) -> dict[str, Any]:
    query = query_of(criteria, fault=cause.fault, code=cause.code, topic=cause.topic)
    return cause._asdict() | {"query": query}


def _page(criteria: LetterCriteria, before: str) -> tuple[list[Any], str]:
    """One page, and the query of the next; empty after the last."""
    page = letters_page(criteria=criteria, before=number_of(before), most=LETTERS_A_PAGE + 1)
    if len(page) <= LETTERS_A_PAGE:
        return page, ""
    page.pop()
    return page, "&".join(filter(None, (query_of(criteria), f"before={page[-1].pk}")))


@console_page(VIEW)
def export(request: HttpRequest) -> HttpResponseBase:
    """What the list shows, as NDJSON. Reading so much at once is itself on record."""
    form = LetterFilterForm(request.GET)
    if not form.is_valid():
        return HttpResponseRedirect(f"{reverse(LIST)}?{request.GET.urlencode()}")
    criteria = form.criteria()
    audit(by=name_of(request), action="letters.export", target="dead letters", after={"criteria": criteria.as_json()})
    found = letters_export(letters=letters_select(criteria=criteria))
    answer = StreamingHttpResponse(found, content_type="application/x-ndjson")
    answer["Content-Disposition"] = 'attachment; filename="dead-letters.ndjson"'
    return answer
