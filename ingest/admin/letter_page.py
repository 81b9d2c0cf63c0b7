"""One dead letter, as an operator looks at it and mends it: its event, what was tried, an edit with a diff first."""

import difflib
import hashlib
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from ingest.admin.dead_letter_forms import EventForm
from ingest.admin.letter_list import DECIDE, VIEW
from ingest.console.pages import console_page, render
from ingest.dead_letters.editing import (
    EditRefused,
    checked_event,
    event_text,
    fingerprint,
    letter_edit,
    pretty_text,
)
from ingest.dead_letters.progress import is_overdue
from ingest.models import DeadLetter, LetterStatus
from tenants.console import name_of
from tenants.forms import ReasonForm

ATTEMPTS_SHOWN = 100
LINE_CHARACTERS = 2_000
PAGE = "admin:ingest_deadletter_change"


@console_page(VIEW)
def letter(request: HttpRequest, letter_id: int) -> HttpResponse:
    """All there is to know about it; what can be done with it are links."""
    found = get_object_or_404(DeadLetter.objects.select_related("bulk"), pk=letter_id)
    original = bytes(found.original_value) if found.original_value is not None else None
    return render(
        request,
        "console/letter.html",
        f"Dead letter {found.pk}",
        letter=found,
        event=event_text(found),
        original=pretty_text(original) if original is not None else "",
        key=bytes(found.key).decode(errors="replace"),
        attempts=_attempts(found),
        is_on_its_way=_is_on_its_way(found),
        is_overdue=found.status == LetterStatus.WAITING and is_overdue(found.next_attempt_at),
        may_decide=request.user.has_perm(DECIDE) and found.is_open,
    )


def _attempts(found: DeadLetter) -> list[Any]:
    """The last ones, in their order."""
    return list(found.attempts.order_by("-at", "-pk")[:ATTEMPTS_SHOWN])[::-1]


def _is_on_its_way(found: DeadLetter) -> bool:
    return found.claimed_until is not None and found.claimed_until > timezone.now()


@console_page(DECIDE)
def edit(request: HttpRequest, letter_id: int) -> HttpResponse:
    """The text, then what it would change and what the API would say of it, then why: only then it is stored."""
    found = get_object_or_404(DeadLetter, pk=letter_id)
    if request.method != "POST":
        return _ask(request, found, EventForm(initial={"event": event_text(found), "seen": fingerprint(found)}))
    form = EventForm(request.POST)
    if not form.is_valid():
        return _ask(request, found, form)
    given, previewed = form.cleaned_data["event"], request.POST.get("previewed")
    why = ReasonForm(request.POST if previewed else None)
    try:
        value = checked_event(letter=found, event=given)
        # A text that was changed after its preview is shown once more.
        if previewed == _digest(given) and why.is_valid():
            return _save(request, found, form, why)
    except EditRefused as refused:
        return _ask(request, found, form, refused=str(refused))
    preview = {"diff": list(diff_lines(event_text(found), pretty_text(value))), "previewed": _digest(given), "why": why}
    return _ask(request, found, form, **preview)


def _ask(request: HttpRequest, found: DeadLetter, form: EventForm, **context: Any) -> HttpResponse:
    title = f"Edit the event of dead letter {found.pk}"
    return render(request, "console/letter_edit.html", title, letter=found, form=form, **context)


def _save(request: HttpRequest, found: DeadLetter, form: EventForm, why: ReasonForm) -> HttpResponse:
    letter_edit(
        letter_id=found.pk,
        event=form.cleaned_data["event"],
        seen=form.cleaned_data["seen"],
        reason=why.cleaned_data["reason"],
        by=name_of(request),
    )
    messages.success(request, "The event is changed, and its original kept. Send it again when it is right.")
    return HttpResponseRedirect(reverse(PAGE, args=[found.pk]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def diff_lines(before: str, after: str) -> Iterator[tuple[str, str]]:
    """Each line with `-`, `+` or a blank before it; long ones are cut, for a message may be a MiB."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
    for line in list(lines)[2:]:
        sign, text = ("…", "") if line.startswith("@@") else (line[0], line[1:])
        yield sign, text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}… {len(text):,} characters"
