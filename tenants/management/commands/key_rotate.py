"""Control plane: `manage.py key_rotate`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import services
from tenants.management.terminal import (
    add_json_option,
    add_who_option,
    add_why_option,
    key_facts,
    key_named,
    natural_number,
    one_line_errors,
    print_json,
    print_secret,
)


class Command(BaseCommand):
    help = (
        "Issue a successor with the same scopes, networks, limits and lifetime. Both keys work during the overlap, "
        "then the old one expires. A key has one successor at most."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", metavar="PREFIX", help="The 8 characters after fb_.")
        parser.add_argument(
            "--overlap-s",
            type=natural_number,
            default=services.ROTATION_OVERLAP_S,
            metavar="N",
            help="How long the old key still works (default: %(default)s, a day).",
        )
        add_who_option(parser)
        add_why_option(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_errors():
            old = key_named(options["prefix"])
            new, secret = services.key_rotate(
                key=old, overlap_s=options["overlap_s"], by=options["by"], reason=options["reason"]
            )
            old.refresh_from_db(fields=["expires_at"])
        assert old.expires_at is not None  # noqa: S101  # for the type checker: it was just set
        if options["json"]:
            replaced = {"prefix": old.prefix, "expires_at": old.expires_at.isoformat()}
            print_json(self, key_facts(new) | {"secret": secret, "replaces": replaced})
            return
        until = f"{old.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        self.stdout.write(f"Rotated key fb_{old.prefix} to fb_{new.prefix}; the old one works until {until}.")
        print_secret(self, secret)
