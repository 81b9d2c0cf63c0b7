"""Control plane: `manage.py dead_letters`: what the console's pages of dead letters do, for terminals and scripts."""

import getpass
import json
import sys
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ingest.dataplane.faults import Fault
from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.decisions import DecisionRefused, letters_discard, letters_replay
from ingest.dead_letters.editing import EditRefused, event_text, letter_edit
from ingest.dead_letters.routes import Routes
from ingest.dead_letters.selection import (
    ANY_OPEN,
    LARGE,
    LetterCriteria,
    letter_facts,
    letters_by_cause,
    letters_export,
    letters_read,
    letters_select,
)
from ingest.dead_letters.sending import topics_of_cluster
from ingest.models import BulkReplay, DeadLetter, LetterStatus, ReplayRoute
from tenants.management.terminal import add_json_option, add_why_option, natural_number, one_line_errors

EXAMPLES = """examples:
  dead_letters causes --tenant acme              what they died of, most frequent first
  dead_letters list --status exhausted --topic payments
  dead_letters show 17
  dead_letters edit 17 --file mended.json        checked as an arriving event is
  dead_letters replay 17 18 --route pinned
  dead_letters bulk plan --tenant acme --code MSG_SIZE_TOO_LARGE --reason "topic takes 2 MiB now"
  dead_letters bulk start 3                      then: bulk status 3, bulk pause 3, bulk resume 3, bulk cancel 3
  dead_letters discard 17 --reason "test traffic"
  dead_letters export --tenant acme > acme.ndjson
"""
_CRITERIA = LetterCriteria.__struct_fields__


class Command(BaseCommand):
    help = "Accepted events that Kafka would not take: look, count, edit, send again, give up, export."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        _filtered(verbs, "list", "Newest first.").add_argument(
            "--max", type=natural_number, default=50, help="At most so many (50)."
        )
        _filtered(verbs, "causes", "Counts by whose fault, code and topic.")
        _filtered(verbs, "export", "Every letter that matches, as NDJSON on standard output.")
        _add(verbs, "show", "One letter: its event and what was tried.", "ID")
        edit = _add(verbs, "edit", "Replace its event; the original is kept.", "ID")
        edit.add_argument("--file", type=Path, help="The JSON object; standard input when absent.")
        add_why_option(edit)
        replay = _add(verbs, "replay", "Send letters again; the Celery worker does it within seconds.", "IDS")
        _add_route(replay, ReplayRoute.RULES)
        add_why_option(replay)
        discard = _add(verbs, "discard", "Give letters up.", "IDS")
        discard.add_argument("--reason", required=True, help="It stays with them.")
        _add_bulk(verbs)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_errors():
            try:
                getattr(self, f"_{options['verb']}")(options)
            except (DecisionRefused, EditRefused, bulks.BulkRefused) as refused:
                raise CommandError(str(refused)) from None
            except DeadLetter.DoesNotExist:
                raise CommandError(f"There is no dead letter {options['id']}.") from None
            except BulkReplay.DoesNotExist:
                raise CommandError(f"There is no bulk replay {options['bulk_id']}.") from None

    def _list(self, options: dict[str, Any]) -> None:
        found = letters_select(criteria=_criteria(options))
        found = found if options["json"] else found.defer(*LARGE)
        for letter in letters_read(letters=found[: options["max"]]):
            if options["json"]:
                self._print_json(letter_facts(letter))
            else:
                died = f"{letter.dead_at:%Y-%m-%d %H:%M:%S}"
                cause = f"{letter.fault}/{letter.code}"
                self.stdout.write(f"{letter.pk}  {died}  {letter.status}  {letter.tenant}  {letter.topic}  {cause}")

    def _causes(self, options: dict[str, Any]) -> None:
        for cause in letters_by_cause(letters=letters_select(criteria=_criteria(options))):
            if options["json"]:
                times = {"first_at": cause.first_at.isoformat(), "last_at": cause.last_at.isoformat()}
                self._print_json(cause._asdict() | times)
            else:
                span = f"{cause.first_at:%Y-%m-%d %H:%M} to {cause.last_at:%Y-%m-%d %H:%M}"
                self.stdout.write(f"{cause.letters:>8}  {cause.fault}/{cause.code}  {cause.topic}  {span}")

    def _export(self, options: dict[str, Any]) -> None:
        for line in letters_export(letters=letters_select(criteria=_criteria(options))):
            self.stdout.write(line, ending="")

    def _show(self, options: dict[str, Any]) -> None:
        letter = DeadLetter.objects.get(pk=options["id"])
        attempts = [
            {"at": one.at.isoformat(), "result": one.result, "code": one.code, "detail": one.detail, "by": one.by}
            for one in letter.attempts.all()
        ]
        facts = letter_facts(letter) | {"tried": attempts}
        if options["json"]:
            self._print_json(facts)
            return
        for name, value in facts.items():
            if name not in ("event", "original", "tried"):
                self.stdout.write(f"{name:<15} {'' if value is None else value}")
        for attempt in attempts:
            self.stdout.write("{at}  {result}  {code}  {detail}  by {by}".format_map(attempt))
        self.stdout.write(event_text(letter))

    def _edit(self, options: dict[str, Any]) -> None:
        try:
            event = options["file"].read_text() if options["file"] else sys.stdin.read()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from None
        letter = letter_edit(letter_id=options["id"], event=event, reason=options["reason"], by=_me())
        self._tell(options, f"Dead letter {letter.pk} is edited; the original is kept.", id=letter.pk)

    def _replay(self, options: dict[str, Any]) -> None:
        count = letters_replay(ids=options["ids"], route=options["route"], reason=options["reason"], by=_me())
        self._tell_count(options, count, "will be sent again within seconds")

    def _discard(self, options: dict[str, Any]) -> None:
        count = letters_discard(ids=options["ids"], reason=options["reason"], by=_me())
        self._tell_count(options, count, "are discarded")

    def _bulk(self, options: dict[str, Any]) -> None:
        bulk = _plan(options) if options["step"] == "plan" else BulkReplay.objects.get(pk=options["bulk_id"])
        steps = {
            "start": bulks.bulk_start,
            "pause": bulks.bulk_pause,
            "resume": bulks.bulk_resume,
            "cancel": bulks.bulk_cancel,
        }
        if options["step"] in steps:
            steps[options["step"]](bulk=bulk, by=_me(), reason=options["reason"])
        facts = bulks.bulk_progress(bulk=bulk)._asdict()
        if options["step"] == "plan":
            routes = Routes(settings.FOREBAY_SNAPSHOT_FILE)
            facts = bulks.bulk_forecast(bulk=bulk, routes=routes, topics=topics_of_cluster())._asdict()
        if bulk.last_changed_by:
            facts["last_changed_by"] = bulk.last_changed_by
        told = ", ".join(f"{name} {value}" for name, value in facts.items())
        self._tell(options, f"Bulk replay {bulk.pk} is {bulk.status}: {told}", id=bulk.pk, status=bulk.status, **facts)

    def _tell_count(self, options: dict[str, Any], count: int, what: str) -> None:
        left = len(set(options["ids"])) - count
        rest = f"; {left} are closed, on their way or not there" if left else ""
        self._tell(options, f"{count} {what}{rest}.", count=count, left=left)

    def _tell(self, options: dict[str, Any], sentence: str, **facts: Any) -> None:
        if options["json"]:
            self._print_json(facts)
        else:
            self.stdout.write(sentence)

    def _print_json(self, facts: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(facts, ensure_ascii=False))


def _add(verbs: Any, name: str, text: str, whom: str = "") -> CommandParser:
    parser: CommandParser = verbs.add_parser(name, help=text, description=text)
    add_json_option(parser)
    if whom == "ID":
        parser.add_argument("id", type=natural_number, metavar="ID")
    elif whom == "IDS":
        parser.add_argument("ids", type=natural_number, nargs="+", metavar="ID")
    return parser


def _filtered(verbs: Any, name: str, text: str) -> CommandParser:
    parser = _add(verbs, name, text)
    _add_filters(parser)
    return parser


def _add_filters(parser: CommandParser) -> None:
    for name in ("tenant", "topic", "rule", "code"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--event-id", default="")
    parser.add_argument("--bulk", type=natural_number, metavar="BULK_ID", help="That this bulk replay had.")
    parser.add_argument("--text", default="", help="Words, or how they begin, of source, message or stack trace.")
    parser.add_argument("--fault", default="", choices=["", Fault.CLUSTER.value, Fault.TOPIC.value, Fault.RECORD.value])
    parser.add_argument("--status", default="", choices=["", ANY_OPEN, *LetterStatus.values])
    parser.add_argument("--dead-from", type=_moment, metavar="TIME", help="Died then or later; 2030-01-01T12:00.")
    parser.add_argument("--dead-before", type=_moment, metavar="TIME", help="Died before.")


def _add_route(parser: CommandParser, default: ReplayRoute) -> None:
    parser.add_argument(
        "--route", choices=ReplayRoute.values, default=default, help=f"By today's rules, or as it was ({default})."
    )


def _add_bulk(verbs: Any) -> None:
    steps = _add(verbs, "bulk", "Send many again: plan, start, status, pause, resume, cancel.").add_subparsers(
        dest="step", required=True, metavar="STEP"
    )
    plan = _filtered(steps, "plan", "Count them and say where they would go. Nothing is sent.")
    _add_route(plan, ReplayRoute.RULES)
    plan.add_argument("--charge-quota", action="store_true", help="Take each event from its tenant's quota.")
    plan.add_argument("--reason", required=True, help="It stays with the replay.")
    for name in ("start", "status", "pause", "resume", "cancel"):
        step = _add(steps, name, f"{name.capitalize()} of a planned one.")
        step.add_argument("bulk_id", type=natural_number, metavar="BULK_ID")
        if name != "status":
            add_why_option(step)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time such as 2030-01-01T12:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.get_current_timezone())


def _criteria(options: dict[str, Any]) -> LetterCriteria:
    return LetterCriteria(**{name: options[name] for name in _CRITERIA})


def _plan(options: dict[str, Any]) -> BulkReplay:
    return bulks.bulk_plan(
        criteria=_criteria(options),
        route=options["route"],
        charges_quota=options["charge_quota"],
        reason=options["reason"],
        by=_me(),
    )


def _me() -> str:
    """Who is at the terminal, as the system knows them."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):  # a container may run as a user without a name
        return "command"
