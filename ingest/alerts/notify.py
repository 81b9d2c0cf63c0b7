"""Control plane: sends the notifications that are due, by webhook and e-mail, until somebody has them.

Whoever sends one first moves its next attempt ahead, so that nobody else sends it meanwhile and a sender that dies is
followed by another. That leaves one way to send twice: to die between the sending and its note. The webhook carries the
notification's id for that case.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from ingest.alerts import mail, webhook
from ingest.alerts.kinds import TITLES, Kind, runbook_link
from ingest.models import Incident, Notification

FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = 600.0
# By then the longest delay binds; beyond it the power would overflow, and a row stays until somebody takes it.
MOST_DOUBLINGS = 10
A_RUN_AT_MOST = 50
# The mark of the evaluation waits for this, and the supervisors for that.
A_RUN_AT_MOST_S = 20.0
ERROR_CHARACTERS = 500

log = logging.getLogger(__name__)


def channels() -> list[Notification.Channel]:
    """Those that the settings name; none of them: incidents are only shown."""
    named = {
        Notification.Channel.WEBHOOK: settings.FOREBAY_ALERT_WEBHOOK_URL,
        Notification.Channel.EMAIL: settings.FOREBAY_ALERT_EMAIL_TO,
    }
    return [channel for channel, address in named.items() if address]


def send_due(at: datetime) -> int:
    """Send what is due; returns how many got through. A channel that fails is left alone until the next run; a
    notification that cannot be sent for a defect of ours keeps nobody else. Raises DatabaseError when that is away."""
    sent, usable, until_s = 0, set(channels()), time.monotonic() + A_RUN_AT_MOST_S
    for notification in _due(at)[:A_RUN_AT_MOST]:
        channel = Notification.Channel(notification.channel)
        if time.monotonic() >= until_s:
            break
        if channel not in usable:
            continue
        try:
            sent += _send_claimed(notification, at)
        except webhook.NotSent:
            usable.remove(channel)
        except (InterfaceError, OperationalError):
            raise
        except Exception:
            log.exception("%s was not sent for a defect; others are, and it is tried again", notification)
    return sent


def send_test(channel: Notification.Channel) -> None:
    """A message that says it is a test. Raises webhook.NotSent."""
    text = "A test of Forebay's alerts: nothing is wrong, and this way to you works."
    if channel == Notification.Channel.WEBHOOK:
        _post({"event": "test", "title": text, "runbook": settings.FOREBAY_RUNBOOK_URL})
    else:
        mail.send("test", [text])


def _due(at: datetime) -> QuerySet[Notification]:
    """In the order of their making. An end waits until its beginning has been told."""
    earlier_untold = Notification.objects.filter(
        incident=OuterRef("incident"), channel=OuterRef("channel"), pk__lt=OuterRef("pk"), sent_at=None
    )
    due = Notification.objects.filter(sent_at=None, next_attempt_at__lte=at, channel__in=channels())
    return due.exclude(Exists(earlier_untold)).select_related("incident").order_by("pk")


def _send_claimed(notification: Notification, at: datetime) -> bool:
    """Whether it was ours to send, and is sent. Raises webhook.NotSent."""
    if not _claim(notification, at):
        return False
    try:
        _SENDERS[Notification.Channel(notification.channel)](notification)
    except webhook.NotSent as error:
        log.warning("%s was not sent, it is tried again: %s", notification, error)
        _note(notification, str(error))
        raise
    except Exception as defect:
        _note(notification, f"a defect: {defect!r}")
        raise
    Notification.objects.filter(pk=notification.pk).update(sent_at=timezone.now(), last_error="")
    return True


def _claim(notification: Notification, at: datetime) -> bool:
    delay_s = min(FIRST_DELAY_S * 2 ** min(notification.attempts, MOST_DOUBLINGS), LONGEST_DELAY_S)
    delay_s += settings.FOREBAY_ALERT_TIMEOUT_S
    untouched = Notification.objects.filter(
        pk=notification.pk, sent_at=None, next_attempt_at=notification.next_attempt_at
    )
    return untouched.update(next_attempt_at=at + timedelta(seconds=delay_s), attempts=F("attempts") + 1) == 1


def _note(notification: Notification, error: str) -> None:
    """What a receiver answers may hold a NUL, which PostgreSQL refuses in text."""
    last_error = error.replace("\0", "\ufffd")[:ERROR_CHARACTERS]
    Notification.objects.filter(pk=notification.pk).update(last_error=last_error)


def _send_webhook(notification: Notification) -> None:
    incident = notification.incident
    _post(
        {
            "id": f"{notification.pk}",
            "event": notification.event,
            "incident": incident.pk,
            "kind": incident.kind,
            "title": _title(incident),
            "subject": incident.subject,
            "severity": incident.severity,
            "value": incident.value,
            "openedAt": incident.opened_at.isoformat(),
            "endedAt": incident.ended_at.isoformat() if incident.ended_at else None,
            "runbook": runbook_link(settings.FOREBAY_RUNBOOK_URL, incident.kind),
        }
    )


def _send_email(notification: Notification) -> None:
    incident = notification.incident
    ended = notification.event == Notification.Event.ENDED
    lines = [
        f"{_title(incident)}: {incident.subject}",
        incident.value,
        f"Since {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC",
        f"Ended {incident.ended_at:%Y-%m-%d %H:%M:%S} UTC" if ended else f"Urgency: {incident.severity}",
        f"What to do: {runbook_link(settings.FOREBAY_RUNBOOK_URL, incident.kind)}",
    ]
    mail.send(f"{'ended: ' if ended else ''}{_title(incident)}: {incident.subject}", lines)


_SENDERS: dict[Notification.Channel, Callable[[Notification], None]] = {
    Notification.Channel.WEBHOOK: _send_webhook,
    Notification.Channel.EMAIL: _send_email,
}


def _title(incident: Incident) -> str:
    """Of a kind that a later release no longer has, its name."""
    return TITLES[Kind(incident.kind)] if incident.kind in TITLES else incident.kind


def _post(message: dict[str, object]) -> None:
    webhook.send(
        settings.FOREBAY_ALERT_WEBHOOK_URL,
        settings.FOREBAY_ALERT_WEBHOOK_SECRET,
        settings.FOREBAY_ALERT_TIMEOUT_S,
        message,
        time.time(),
    )
