"""An operator's word about a breaker or a parked topic: what it will do is shown, why is asked, then it is said."""

from http import HTTPStatus

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from ingest.console.breakers_facts import BUTTONS
from ingest.console.breakers_look import look_now
from ingest.console.breakers_words import DANGEROUS, effects, newest_word, state_of, title_of
from ingest.console.pages import console_page, render
from ingest.models import Override, OverrideKind
from ingest.overrides import OverrideRefused, override_add
from tenants.console import name_of
from tenants.forms import ReasonForm

PERMISSION = "ingest.add_override"


class WordForm(ReasonForm):
    """Why; and the number of the newest word for the place when it was asked, 0 for none."""

    after = forms.IntegerField(widget=forms.HiddenInput, required=False)


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
    last = newest_word(topic=word.topic, tenant=word.tenant)
    form = WordForm(request.POST if request.method == "POST" else None, initial={"after": last.pk if last else 0})
    if request.method == "POST" and form.is_valid():
        return _say(request, word, **form.cleaned_data)
    return _ask(request, word, form)


def _asked(request: HttpRequest) -> Override:
    asked = {name: request.GET.get(name, "").strip() for name in ("kind", "topic", "tenant")}
    return Override(**asked)


def _ask(request: HttpRequest, word: Override, form: WordForm) -> HttpResponse:
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


def _say(request: HttpRequest, word: Override, *, reason: str, after: int | None) -> HttpResponse:
    """What was said meanwhile is shown where it holds."""
    kind, by = OverrideKind(word.kind), name_of(request)
    try:
        override_add(kind=kind, topic=word.topic, tenant=word.tenant, by=by, reason=reason, after=after)
        messages.success(request, f"{title_of(word)}: said. Workers follow within a second.")
    except OverrideRefused as refused:
        messages.warning(request, f"{title_of(word)}: not said again. {refused}")
    return redirect("console:topic", topic=word.topic) if word.topic else redirect("console:breakers")
