"""Control plane: `manage.py rules list|diff|versions|publish|rollback|try`."""

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ingest.dataplane.errors import BadRequest, EventRejected
from ingest.dataplane.explaining import Explanation
from ingest.management.operators import add_who_and_why, shared_redis
from ingest.models import RuleSet
from ingest.rule_sets import (
    draft_rules,
    live_rule_set,
    live_rules,
    restorable,
    rule_set_numbered,
    rules_publish,
    rules_roll_back,
)
from ingest.rules.changes import RuleChange, changes_between
from ingest.rules.facts import Facts, goes_in_words, matches_in_words
from ingest.rules.known_topics import named_topics, topics_for, topics_of_cluster
from ingest.rules.trials import Sample, event_try, recent_try
from ingest.rules.warnings import warnings_of
from tenants.management.terminal import natural_number, one_line_errors, tenant_named

LISTED = 20


class Command(BaseCommand):
    help = "Show the draft of the routing rules, what is live, and how they differ; publish, roll back, try an event."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listed = verbs.add_parser("list", help="The rules of the draft in their order, or those that are live.")
        listed.add_argument("--live", action="store_true", help="What workers route by, instead of the draft.")
        listed.add_argument("--json", action="store_true", help="Print one JSON array, for scripts.")
        diff = verbs.add_parser("diff", help="What publishing the draft, or going back to a version, would change.")
        diff.add_argument("number", nargs="?", type=natural_number, metavar="VERSION", help="Instead of the draft.")
        verbs.add_parser("versions", help="What was published last, by whom and why.")
        publish = verbs.add_parser("publish", help="Make the draft live.")
        publish.add_argument(
            "--base", type=natural_number, metavar="N", help="Only while version N is live: what you have looked at."
        )
        add_who_and_why(publish)
        back = verbs.add_parser("rollback", help="Make an old version live again; the draft becomes what it is.")
        back.add_argument("number", type=natural_number, metavar="VERSION", help="As `versions` lists it.")
        add_who_and_why(back)
        tried = verbs.add_parser("try", help="What the live rules and the draft would do with an event.")
        tried.add_argument("tenant", metavar="TENANT", help="Whose event it is.")
        tried.add_argument("file", nargs="?", default="-", metavar="FILE", help="One JSON object; -: standard input.")
        tried.add_argument("--recent", action="store_true", help="With what the tenant has sent lately, instead.")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        with one_line_errors():
            lines = getattr(self, f"_{verb}")(options)
        self.stdout.write("\n".join(lines))

    def _list(self, options: dict[str, Any]) -> list[str]:
        rules = live_rules() if options["live"] else draft_rules()
        if options["json"]:
            return [json.dumps(rules)]
        return [_rule(place, rule) for place, rule in enumerate(rules, start=1)] or ["No rules: the default takes all."]

    def _diff(self, options: dict[str, Any]) -> list[str]:
        number = options["number"]
        after = draft_rules() if number is None else restorable(rule_set_numbered(number).rules).rules
        changes = changes_between(live_rules(), after)
        if not changes:
            return ["Nothing would change."]
        warnings = warnings_of(after, topics_of_cluster(named_topics(after)))
        said = [f"warning: {warning.rule['name']} {warning.text}" for warning in warnings]
        return [line for change in changes for line in _change(change)] + said

    def _versions(self, options: dict[str, Any]) -> list[str]:
        found = RuleSet.objects.order_by("-number")[:LISTED]
        return [_version(one) for one in found] or ["Nothing was published yet."]

    def _publish(self, options: dict[str, Any]) -> list[str]:
        made = rules_publish(by=options["by"], reason=options["reason"], base_number=options["base"])
        return [_is_live(made)]

    def _rollback(self, options: dict[str, Any]) -> list[str]:
        found = restorable(rule_set_numbered(options["number"]).rules)
        made = rules_roll_back(number=options["number"], by=options["by"], reason=options["reason"])
        lost = [f"Left out, for its tenants are gone: {name}." for name in found.without_rules]
        return [f"{_is_live(made)} The draft is what it is.", *lost]

    def _try(self, options: dict[str, Any]) -> list[str]:
        tenant, live = tenant_named(options["tenant"]), live_rule_set()
        rules: dict[str, Any] = {"live": live.rules if live else [], "draft": draft_rules()}
        rules["topics"] = topics_for(rules["live"] + rules["draft"])
        if options["recent"]:
            with shared_redis() as client:
                return _sample(recent_try(client, tenant=tenant, **rules))
        try:
            tried = event_try(text=_read(options["file"]), tenant=tenant, address="127.0.0.1", **rules)
        except (BadRequest, EventRejected) as error:
            raise CommandError(f"This event is not accepted: {error.code}: {error.detail}") from error
        names = (f"Live (version {live.number})" if live else "Live (the default alone)", "Draft")
        return [
            line
            for name, side in zip(names, (tried.live, tried.draft), strict=True)
            for line in _explanation(name, side)
        ]


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error


def _is_live(made: RuleSet) -> str:
    return f"Version {made.number} is published by {made.by}. Workers follow within a second."


def _rule(place: int, rule: Facts) -> str:
    off = "" if rule["enabled"] else "  (disabled)"
    return f"{place:3}  {rule['name']}{off}\n       {matches_in_words(rule)}\n       -> {goes_in_words(rule)}"


def _change(change: RuleChange) -> list[str]:
    moved = f", from place {change.was_at} to {change.is_at}" if change.has_moved else ""
    fields = [f"    {field.name}: {' -> '.join(filter(None, field[1:]))}" for field in change.fields]
    return [f"{change.rule['name']}: {change.kind}{moved}", *fields]


def _version(one: RuleSet) -> str:
    restores = f" (back to {one.restores})" if one.restores else ""
    return f"{one.number:4}  {one.at:%Y-%m-%d %H:%M:%S} UTC  {one.by}{restores}: {one.reason}"


def _explanation(name: str, side: Explanation) -> list[str]:
    route = side.route
    steps = [f"    {step.rule.name}: {'; '.join(step.why_not) or 'matches'}" for step in side.steps]
    if route.drop_reason:
        goes = [f"  dropped as {route.drop_reason}"]
    else:
        unverified = "" if side.is_verified else " (not verified)"
        goes = [
            f"  topic {route.topic}{unverified}, partition {side.partition}",
            f"  key {side.key_text or 'none'}, delivery {route.delivery}",
        ]
    return [f"{name}: by {side.rule.name}", *goes, "  asked, in order:", *steps]


def _sample(sample: Sample) -> list[str]:
    lines = [
        f"{stream.events:4}  {stream.live.rule}: {stream.live.goes_to}"
        + ("" if stream.live == stream.draft else f"  =>  {stream.draft.rule}: {stream.draft.goes_to}")
        + f"  such as {stream.source}"
        for stream in sample.streams
    ]
    return [f"{sample.changed_events} of {sample.events} recent events would go another way.", *lines]
