"""The alerts that are open, for the pages that show what they are about."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from django.db.models import QuerySet

from ingest.alerts.kinds import TITLES, Kind
from ingest.console.runbook import runbook_of
from ingest.models import Incident


class OpenAlert(NamedTuple):
    """One of them, with where it is written what to do."""

    incident: Incident
    title: str
    runbook: str


def open_alerts(kinds: Collection[Kind]) -> list[OpenAlert]:
    """Those of these kinds, newest first."""
    return told_of(incidents_open().filter(kind__in=kinds))


def incidents_open() -> QuerySet[Incident]:
    """Newest first."""
    return Incident.objects.filter(ended_at=None).order_by("-opened_at")


def told_of(incidents: Iterable[Incident]) -> list[OpenAlert]:
    """With title and runbook; one of a kind that another release knew is called by its kind."""
    return [OpenAlert(one, TITLES.get(one.kind, one.kind), runbook_of(one.kind)) for one in incidents]
