"""The runbook in the console: what to do about each alert and each fault, though the network reaches nothing else."""

from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from ingest.alerts.kinds import runbook_link
from ingest.console.pages import console_page, render
from ingest.console.runbook_text import Section, sections_of


@console_page("ingest.view_incident")
def runbook(request: HttpRequest) -> HttpResponse:
    """All of it, a section for each anchor."""
    return render(request, "console/runbook.html", "Runbook", sections=_sections(settings.BASE_DIR / "docs/runbook.md"))


def runbook_of(kind: str) -> str:
    """Where it is written what to do about an alert: where the settings say, if that is on the web, else here."""
    link = runbook_link(settings.FOREBAY_RUNBOOK_URL, kind)
    return link if "://" in link else f"{reverse('console:runbook')}#{kind}"


@cache
def _sections(path: Path) -> list[Section]:
    """The file belongs to the release: it does not change while this runs."""
    return sections_of(path.read_text(encoding="utf-8"))
