"""Control plane: `manage.py alerts list|test|forget`."""

import json
import time
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ingest import heartbeats
from ingest.alerts import notify, webhook
from ingest.alerts.kinds import runbook_link
from ingest.models import Incident
from tenants.management.terminal import one_line_errors

LISTED = 50


class Command(BaseCommand):
    help = "Show what is not as it should be, try the ways to tell of it, or forget a worker that is gone for good."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="Open incidents, the newest first.")
        listing.add_argument("--all", action="store_true", help=f"The last {LISTED} instead, ended ones too.")
        listing.add_argument("--json", action="store_true", help="Print one JSON object a line, for scripts.")
        verbs.add_parser("test", help="Send a test by webhook and e-mail, as far as they are configured.")
        forgetting = verbs.add_parser(
            "forget", help="Forget a missing worker whose node never comes back; its incident then ends."
        )
        forgetting.add_argument("worker", metavar="NODE/PID", help="As the incident names it.")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        verbs: dict[str, Callable[..., None]] = {"list": self._list, "test": self._test, "forget": self._forget}
        with one_line_errors():
            verbs[verb](**options)

    def _list(self, *, all: bool, json: bool, **options: Any) -> None:
        incidents = Incident.objects.order_by("-opened_at")
        shown = list(incidents[:LISTED] if all else incidents.filter(ended_at=None))
        for incident in shown:
            self.stdout.write(_as_json(incident) if json else _in_words(incident))
        if not shown and not json:
            self.stdout.write("No incident is open." if not all else "There was no incident yet.")

    def _test(self, **options: Any) -> None:
        channels = notify.channels()
        if not channels:
            raise CommandError("Set FOREBAY_ALERT_WEBHOOK_URL or FOREBAY_ALERT_EMAIL_TO first: nobody would be told.")
        failed = []
        for channel in channels:
            try:
                notify.send_test(channel)
                self.stdout.write(f"{channel.label}: sent")
            except webhook.NotSent as error:
                failed.append(f"{channel.label}: not sent, {error}")
        if failed:
            raise CommandError("; ".join(failed))

    def _forget(self, *, worker: str, **options: Any) -> None:
        timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
        with redis.Redis.from_url(
            settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        ) as client:
            try:
                forgotten = _forget_unless_alive(client, worker)
            except redis.RedisError as error:
                raise CommandError(f"Redis does not answer: {error}") from error
        if not forgotten:
            raise CommandError(f"There is no missing worker {worker}: `manage.py alerts list` names them.")
        self.stdout.write(f"Forgot {worker}.")


def _forget_unless_alive(client: redis.Redis, worker: str) -> int:
    silent_since_wall_s = time.time() - settings.FOREBAY_ALERT_WORKER_MISSING_S
    named = [status for status in heartbeats.workers(client) if status.name == worker]
    return heartbeats.forget(client, [status for status in named if status.seen_wall_s < silent_since_wall_s])


def _as_json(incident: Incident) -> str:
    return json.dumps(
        {
            "kind": incident.kind,
            "subject": incident.subject,
            "severity": incident.severity,
            "value": incident.value,
            "opened_at": incident.opened_at.isoformat(),
            "ended_at": incident.ended_at and incident.ended_at.isoformat(),
            "acknowledged_by": incident.acknowledged_by,
            "runbook": runbook_link(settings.FOREBAY_RUNBOOK_URL, incident.kind),
        }
    )


def _in_words(incident: Incident) -> str:
    until = f" to {incident.ended_at:%Y-%m-%d %H:%M:%S}" if incident.ended_at else ""
    return (
        f"{incident.opened_at:%Y-%m-%d %H:%M:%S}{until} UTC  {incident.severity:6}  {incident.kind}"
        f"  {incident.subject}  {incident.value}"
    )
