"""Routing rules: the draft, what is live, and the way from one to the other."""

from django.http import HttpRequest, HttpResponse

from ingest.console.pages import console_page, render


@console_page("ingest.view_routingrule")
def rules(request: HttpRequest) -> HttpResponse:
    """The whole page, complete without a script."""
    return render(request, "console/rules.html", "Routing rules")
