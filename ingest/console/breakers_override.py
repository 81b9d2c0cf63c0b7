"""An operator's word about a breaker or a parked topic: what it will do is shown, why is asked, then it is said."""

from http import HTTPStatus

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from ingest.console.breakers_facts import BUTTONS
from ingest.console.breakers_look import look_now
from ingest.console.breakers_words import DANGEROUS, effects, state_of, title_of
from ingest.console.pages import console_page, render
from ingest.models import Override, OverrideKind
from ingest.overrides import override_add
from tenants.console import name_of
from tenants.forms import ReasonForm

PERMISSION = "ingest.add_override"


@console_page(PERMISSION)
def override(request: HttpRequest) -> HttpResponse:
    """The question, and what is done with the answer. What is meant is in the query."""
    word = _asked(request)
    try:
        word.full_clean(exclude=("by", "reason"))
    except ValidationError as refused:
        response = render(request, "console/override.html", "This cannot be done", refused=refused.messages)
        response.status_code = HTTPStatus.BAD_REQUEST
        return response
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        return _say(request, word, form.cleaned_data["reason"])
    return _ask(request, word, form)


def _asked(request: HttpRequest) -> Override:
    asked = {name: request.GET.get(name, "").strip() for name in ("kind", "topic", "tenant")}
    return Override(**asked)


def _ask(request: HttpRequest, word: Override, form: ReasonForm) -> HttpResponse:
    look, kind = look_now(), OverrideKind(word.kind)
    return render(
        request,
        "console/override.html",
        title_of(word),
        word=word,
        form=form,
        effects=effects(word, look),
        state=state_of(word, look),
        button=BUTTONS[kind],
        is_dangerous=kind in DANGEROUS,
    )


def _say(request: HttpRequest, word: Override, reason: str) -> HttpResponse:
    said = override_add(
        kind=OverrideKind(word.kind), topic=word.topic, tenant=word.tenant, by=name_of(request), reason=reason
    )
    messages.success(request, f"{title_of(said)}: said. Workers follow within a second.")
    return redirect("console:topic", topic=said.topic) if said.topic else redirect("console:breakers")
