"""Control plane: `manage.py plan_set`."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import services
from tenants.management.terminal import (
    add_json_option,
    add_who_option,
    add_why_option,
    one_line_errors,
    print_json,
)
from tenants.models import Quarantine

_FIELDS = ("idempotency_keys", "deduplicates", "quarantine")


def _on_or_off(text: str) -> bool:
    """For argparse."""
    if text not in ("on", "off"):
        raise ArgumentTypeError(f"{text!r} is neither on nor off")
    return text == "on"


class Command(BaseCommand):
    help = (
        "Change what a plan does with what comes again or is bad, and print what holds; without an option, only print. "
        "Workers follow within a second. Its limits are changed in the console."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("plan", metavar="PLAN", help="The plan's name.")
        parser.add_argument(
            "--idempotency-keys",
            type=_on_or_off,
            metavar="on|off",
            help="Answer a repeated Idempotency-Key as the first time.",
        )
        parser.add_argument(
            "--deduplicates", type=_on_or_off, metavar="on|off", help="Drop events whose eventId came before."
        )
        parser.add_argument("--quarantine", choices=Quarantine.values, help="What is kept of rejected events.")
        add_who_option(parser)
        add_why_option(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_errors():
            changes = {field: options[field] for field in _FIELDS if options[field] is not None}
            plan = services.plan_set(plan=options["plan"], by=options["by"], reason=options["reason"], **changes)
        if options["json"]:
            print_json(self, {"plan": plan.name} | {field: getattr(plan, field) for field in _FIELDS})
            return
        said = {True: "on", False: "off"}
        held = ", ".join(f"{field} {said.get(value := getattr(plan, field), value)}" for field in _FIELDS)
        self.stdout.write(f"Plan {plan.name}: {held}.")
