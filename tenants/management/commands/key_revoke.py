"""Control plane: `manage.py key_revoke`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import services
from tenants.management.terminal import (
    add_json_option,
    add_who_option,
    add_why_option,
    key_named,
    one_line_errors,
    print_json,
)


class Command(BaseCommand):
    help = "Revoke an API key: every worker answers it 401 within a second. Revoking it again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", metavar="PREFIX", help="The 8 characters after fb_.")
        add_who_option(parser)
        add_why_option(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_errors():
            key = key_named(options["prefix"])
            changed = services.key_revoke(key=key, by=options["by"], reason=options["reason"])
        assert key.revoked_at is not None  # noqa: S101  # for the type checker: it was just set
        if options["json"]:
            facts = {"tenant": key.tenant.name, "prefix": key.prefix, "revoked_at": key.revoked_at.isoformat()}
            print_json(self, facts | {"changed": changed})
        elif changed:
            self.stdout.write(f"Revoked key fb_{key.prefix} ({key.name}) of {key.tenant.name}.")
        else:
            self.stdout.write(f"Key fb_{key.prefix} was revoked before, on {key.revoked_at:%Y-%m-%d %H:%M} UTC.")
