"""Control plane: `manage.py breaker status|force-open|disable|reset`."""

import json
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from ingest.breaker_store import RecordedTransition, SharedStanding, standings, transitions
from ingest.management.operators import add_who_and_why, moment, shared_redis
from ingest.models import OverrideKind
from ingest.overrides import override_add
from tenants.management.terminal import one_line_errors

_KINDS = {"force-open": OverrideKind.FORCED_OPEN, "disable": OverrideKind.DISABLED, "reset": OverrideKind.RESET}
_HELP = {
    "force-open": "Send nothing to Kafka, or to one topic, until it is reset; events wait in the journals.",
    "disable": "Send whatever fails, until it is reset.",
    "reset": "Close it, and let it decide by itself again.",
}
LISTED = 20


class Command(BaseCommand):
    help = "Show where the breakers stand, of the cluster and of topics, or overrule them; workers follow in a second."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        status = verbs.add_parser("status", help="Where each stands, since when and why, and what moved them last.")
        status.add_argument("--json", action="store_true", help="Print one JSON object, for scripts.")
        for verb, text in _HELP.items():
            word = verbs.add_parser(verb, help=text)
            word.add_argument("--topic", default="", metavar="T", help="Of this topic; without it of the cluster.")
            add_who_and_why(word)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if verb == "status":
            self._show(as_json=options["json"])
            return
        with one_line_errors():
            override = override_add(
                kind=_KINDS[verb], topic=options["topic"], by=options["by"], reason=options["reason"]
            )
        self.stdout.write(f"{override.kind} for {override.place}, by {override.by}. Workers follow within a second.")

    def _show(self, *, as_json: bool) -> None:
        with shared_redis() as redis:
            stand, moved = standings(redis), transitions(redis, LISTED)
        if as_json:
            facts = {"breakers": msgspec.to_builtins(stand), "transitions": msgspec.to_builtins(moved)}
            self.stdout.write(json.dumps(facts))
            return
        lines = [_standing(shared) for shared in stand]
        if moved:
            lines += ["", "Last moves:", *(_transition(move) for move in moved)]
        self.stdout.write("\n".join(lines))


def _standing(shared: SharedStanding) -> str:
    since = f"  since {moment(shared.since_wall_ms)}{_why(shared.cause, shared.by)}" if shared.epoch else ""
    return f"{shared.state:11}  {_name(shared.topic)}{since}"


def _transition(moved: RecordedTransition) -> str:
    return (
        f"  {moment(moved.at_wall_ms)}  {_name(moved.topic)}  {moved.old} -> {moved.new}"
        f"{_why(moved.cause, moved.by or moved.worker)}"
    )


def _name(topic: str) -> str:
    return f"topic {topic}" if topic else "the cluster"


def _why(cause: str, by: str) -> str:
    return f"  {cause}{f' ({by})' if by else ''}"
