"""Control plane: findings become incidents, each told of once when it opens and once when it ends.

Safe for any number of evaluations at once: the database lets one incident of a kind and subject be open, and one
notification of an incident, event and channel exist; an insert that conflicts with that is left out in silence.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count

from ingest.alerts.conditions import Finding
from ingest.alerts.kinds import Kind, severity_of
from ingest.models import Incident, Notification
from tenants.audit import audit

VALUE_CHARACTERS = 500
SUBJECT_CHARACTERS = 400


def incidents_update(
    *,
    found: Sequence[Finding],
    unknown: Collection[Kind],
    at: datetime,
    clear_s: float,
    channels: Sequence[Notification.Channel],
) -> None:
    """Open what is new, note what still holds, end what has been clear for `clear_s`; the unknown stays as it is."""
    held = {(finding.kind.value, finding.subject[:SUBJECT_CHARACTERS]): finding for finding in found}
    for incident in Incident.objects.filter(ended_at=None):
        finding = held.pop((incident.kind, incident.subject), None)
        if finding:
            _note_seen(incident, finding, at)
        elif incident.kind in unknown:
            _not_clear_now(incident)
        else:
            _note_clear(incident, at, clear_s)
    for (kind, subject), finding in held.items():
        _open(kind, subject, finding, at, channels)


def open_counts() -> dict[str, int]:
    """Kind -> open incidents, for those kinds that have any."""
    counted = Incident.objects.filter(ended_at=None).order_by().values_list("kind").annotate(Count("pk"))
    return dict(counted)


@transaction.atomic
def incident_acknowledge(*, incident: Incident, by: str, at: datetime) -> bool:
    """Says that somebody is at it; False if somebody was before. It changes nothing else."""
    unclaimed = Incident.objects.filter(pk=incident.pk, acknowledged_at=None)
    if not unclaimed.update(acknowledged_by=by, acknowledged_at=at):
        return False
    audit(by=by, action="incident.acknowledge", target=incident, after={"acknowledged_by": by})
    return True


def incidents_forget(*, ended_before: datetime) -> int:
    """Delete incidents that ended before then; returns how many."""
    return Incident.objects.filter(ended_at__lt=ended_before).delete()[1].get("ingest.Incident", 0)


def _note_seen(incident: Incident, finding: Finding, at: datetime) -> None:
    value = finding.value[:VALUE_CHARACTERS]
    Incident.objects.filter(pk=incident.pk).update(last_seen_at=at, clear_since=None, value=value)


def _not_clear_now(incident: Incident) -> None:
    if incident.clear_since:
        Incident.objects.filter(pk=incident.pk).update(clear_since=None)


def _note_clear(incident: Incident, at: datetime, clear_s: float) -> None:
    if incident.clear_since is None:
        Incident.objects.filter(pk=incident.pk).update(clear_since=at)
    elif at - incident.clear_since >= timedelta(seconds=clear_s):
        _end(incident, at)


@transaction.atomic
def _open(kind: str, subject: str, finding: Finding, at: datetime, channels: Sequence[Notification.Channel]) -> None:
    opened = Incident(
        kind=kind,
        subject=subject,
        severity=severity_of(finding.kind),
        value=finding.value[:VALUE_CHARACTERS],
        opened_at=at,
        last_seen_at=at,
    )
    Incident.objects.bulk_create([opened], ignore_conflicts=True)
    incident = Incident.objects.get(kind=kind, subject=subject, ended_at=None)
    _tell(incident, Notification.Event.OPENED, channels, at)


@transaction.atomic
def _end(incident: Incident, at: datetime) -> None:
    if Incident.objects.filter(pk=incident.pk, ended_at=None).update(ended_at=at):
        told = incident.notifications.filter(event=Notification.Event.OPENED).values_list("channel", flat=True)
        _tell(incident, Notification.Event.ENDED, list(told), at)


def _tell(incident: Incident, event: Notification.Event, channels: Sequence[str], at: datetime) -> None:
    Notification.objects.bulk_create(
        [Notification(incident=incident, channel=channel, event=event, next_attempt_at=at) for channel in channels],
        ignore_conflicts=True,
    )
