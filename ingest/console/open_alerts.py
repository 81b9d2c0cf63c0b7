"""The alerts that are open, for the pages that show what they are about."""

from collections.abc import Collection
from typing import NamedTuple

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
    found = Incident.objects.filter(ended_at=None, kind__in=kinds).order_by("-opened_at")
    return [OpenAlert(one, TITLES[Kind(one.kind)], runbook_of(one.kind)) for one in found]
