"""Control plane: `manage.py ledger_check`: does the ledger add up, and if not, where, and what to do."""

import getpass
import json
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ingest.ledger import books, lost
from ingest.ledger.accounts import JOURNALS
from ingest.ledger.books import Mismatch
from ingest.ledger.checking import settled_mismatches
from ingest.ledger.copying import copy_all
from ingest.models import JournalState
from tenants.management.terminal import add_json_option, one_line_errors

WORDS = ("received", "accepted", "rejected", "delivered", "dropped", "dead_lettered", "discarded", "pending")


class Command(BaseCommand):
    help = (
        "Verify that received = accepted + rejected and accepted = delivered + dropped + dead-lettered + discarded +"
        " pending, what is pending as the journals count it. Exits with 1 and one line for each thing that is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default="", help="Only this tenant; leaves out what concerns whole journals.")
        parser.add_argument(
            "--since", type=_time, help="Totals since this time (RFC 3339). All is checked in any case."
        )
        parser.add_argument(
            "--wait", type=float, default=0.0, metavar="S", help="Look again until it adds up, at most so long."
        )
        parser.add_argument(
            "--give-up", metavar="JOURNAL", help="This journal is lost: count what it held as discarded."
        )
        parser.add_argument("--reason", default="", help="Why; with --give-up.")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_errors(), _redis() as client:
            if options["give_up"]:
                self._give_up(client, options["give_up"], options["reason"])
            redis_away = ""

            def look() -> list[Mismatch]:
                nonlocal redis_away
                redis_away = _copied(client)
                return books.mismatches(tenant=options["tenant"])

            wrong = settled_mismatches(look, options["wait"])
            totals = books.totals(tenant=options["tenant"], since_minute=_minute(options["since"]))
            self._tell(totals, wrong, redis_away, as_json=options["json"])
        if wrong:
            raise CommandError(f"The ledger does not add up: {len(wrong)} to look at.")

    def _give_up(self, client: redis.Redis, journal: str, reason: str) -> None:
        if not reason.strip():
            raise CommandError("Say why with --reason: what is given up is lost, and its tenants may ask.")
        copy_all(client)  # the last that it told is what it held
        try:
            events = lost.give_up(journal, by=getpass.getuser(), reason=reason.strip())
        except JournalState.DoesNotExist:
            raise CommandError(f"No journal {journal} was ever heard of.") from None
        except lost.StillAlive:
            raise CommandError(
                f"Journal {journal} is not missing: its worker was heard of, or it is finished."
            ) from None
        client.hdel(JOURNALS, journal)
        self.stderr.write(f"Gave up journal {journal}: {events} events count as discarded.")

    def _tell(
        self, totals: Mapping[str, Mapping[str, int]], wrong: list[Mismatch], redis_away: str, *, as_json: bool
    ) -> None:
        if as_json:
            found = {"balanced": not wrong, "mismatches": [one.text for one in wrong], "redis_away": bool(redis_away)}
            self.stdout.write(json.dumps({**found, "totals": totals}))
            return
        for line in _table(totals):
            self.stdout.write(line)
        for line in filter(None, (redis_away, *(one.text for one in wrong))):
            self.stderr.write(line)


def _copied(client: redis.Redis) -> str:
    """Copy what Redis has, as the task would; without Redis the database is as old as the last copy."""
    try:
        copy_all(client)
    except redis.RedisError as error:
        return f"Redis does not answer ({error}): these are the figures of the last copy."
    return ""


def _table(totals: Mapping[str, Mapping[str, int]]) -> list[str]:
    rows = [["tenant", *(word.replace("_", "-") for word in WORDS)]]
    rows += [[name, *(f"{figures[word]:,}" for word in WORDS)] for name, figures in totals.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _redis() -> redis.Redis:
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    return redis.Redis.from_url(settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time such as 2030-01-01T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.get_default_timezone())


def _minute(at: datetime | None) -> int:
    return int(at.timestamp()) // 60 if at else 0
