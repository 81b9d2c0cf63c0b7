"""Control plane: `manage.py key_issue`."""

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from tenants import services
from tenants.management.terminal import (
    add_json_option,
    add_who_option,
    key_facts,
    natural_number,
    one_line_errors,
    print_json,
    print_secret,
    tenant_named,
)
from tenants.models import LIMIT_FIELDS, Scope


class Command(BaseCommand):
    help = "Issue an API key to a tenant. The key is printed once; only its SHA-256 is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", metavar="TENANT", help="Whose events it sends.")
        parser.add_argument("--name", default="default", help="What uses it, such as web-frontend (default: default).")
        parser.add_argument(
            "--scopes", nargs="+", choices=Scope.values, default=[Scope.INGEST.value], help="Default: ingest."
        )
        parser.add_argument("--expires-in-days", type=natural_number, metavar="N", help="Default: it does not expire.")
        parser.add_argument(
            "--allow", nargs="+", action="extend", default=[], metavar="CIDR", help="Only from these networks."
        )
        for field in LIMIT_FIELDS:
            option = f"--{field.replace('_', '-')}"
            parser.add_argument(
                option, type=natural_number, default=0, metavar="N", help="Own limit; 0, the default: none."
            )
        add_who_option(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_errors():
            key, secret = services.key_issue(
                tenant=tenant_named(options["tenant"]),
                name=options["name"],
                by=options["by"],
                scopes=options["scopes"],
                expires_at=_expiry(options["expires_in_days"]),
                allowed_networks=options["allow"],
                **{field: options[field] for field in LIMIT_FIELDS},
            )
        if options["json"]:
            print_json(self, key_facts(key) | {"secret": secret})
            return
        until = f", until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else ""
        self.stdout.write(f"Issued key fb_{key.prefix} to {key.tenant.name} for {' and '.join(key.scopes)}{until}.")
        print_secret(self, secret)


def _expiry(days: int | None) -> datetime | None:
    if days is None:
        return None
    if not 1 <= days <= 36_500:
        raise CommandError("--expires-in-days takes 1 to 36500; leave it out for a key that does not expire.")
    return timezone.now() + timedelta(days=days)
