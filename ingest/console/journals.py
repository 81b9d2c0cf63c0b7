"""Journals: what is accepted and not yet in Kafka, whose it is, how old, and what to do about it."""

from django.http import HttpRequest, HttpResponse

from ingest.console.pages import console_page, render


@console_page("ingest.view_journalstate")
def journals(request: HttpRequest) -> HttpResponse:
    """The whole page, complete without a script."""
    return render(request, "console/journals.html", "Journals")
