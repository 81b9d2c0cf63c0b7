"""Breakers and topics: where they stand, what moved them, and an operator's word about them."""

from django.http import HttpRequest, HttpResponse

from ingest.console.pages import console_page, render


@console_page("ingest.view_override")
def breakers(request: HttpRequest) -> HttpResponse:
    """The whole page, complete without a script."""
    return render(request, "console/breakers.html", "Breakers and topics")
