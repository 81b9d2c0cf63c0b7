"""Control plane: `manage.py topic park|resume|parked`."""

from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from ingest.management.operators import add_who_and_why, moment, shared_redis
from ingest.models import OverrideKind
from ingest.overrides import override_add
from ingest.parked import ParkedEntry, read_parked
from tenants.management.terminal import one_line_errors

_KINDS = {"park": OverrideKind.PARKED, "resume": OverrideKind.RESUMED}
_HELP = {
    "park": "Let a tenant's events for a topic wait in the journals; everything else goes on.",
    "resume": "Send them again, whatever they were parked for; if that lasts they are parked again.",
}


class Command(BaseCommand):
    help = "Show what is parked, park a tenant's events for a topic, or resume them; workers follow within a second."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb, text in _HELP.items():
            word = verbs.add_parser(verb, help=text)
            word.add_argument("tenant", metavar="TENANT", help="Its name.")
            word.add_argument("topic", metavar="TOPIC", help="In Kafka.")
            add_who_and_why(word)
        parked = verbs.add_parser("parked", help="What waits, since when and why; the longest first.")
        parked.add_argument("--json", action="store_true", help="Print one JSON object a line, for scripts.")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb == "parked":
            self._show(as_json=options["json"])
            return
        place = {name: options[name] for name in ("tenant", "topic", "by", "reason")}
        with one_line_errors():
            override = override_add(kind=_KINDS[verb], **place)
        self.stdout.write(f"{override.kind} {override.place}, by {override.by}. Workers follow within a second.")

    def _show(self, *, as_json: bool) -> None:
        with shared_redis() as redis:
            entries = read_parked(redis)
        for entry in entries:
            self.stdout.write(msgspec.json.encode(entry).decode() if as_json else _in_words(entry))
        if not entries and not as_json:
            self.stdout.write("Nothing is parked.")


def _in_words(entry: ParkedEntry) -> str:
    return (
        f"{entry.tenant}  {entry.topic}  since {moment(entry.since_wall_ms)}  {entry.pending:,} events wait"
        f"  {entry.code}: {entry.detail}"
    )
