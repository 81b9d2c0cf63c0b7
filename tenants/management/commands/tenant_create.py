"""Control plane: `manage.py tenant_create`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from tenants import services
from tenants.management.terminal import (
    add_json_option,
    add_who_option,
    key_facts,
    one_line_errors,
    print_json,
    print_secret,
)
from tenants.models import Tenant

EXISTS_ALREADY = 3


class Command(BaseCommand):
    help = (
        "Create a tenant, and with --issue-key its first key. A tenant that exists already is left as it is, "
        f"no key is issued, and the exit code is {EXISTS_ALREADY}; every other error exits with 1."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="1 to 63 of a-z, 0-9 and -; it never changes.")
        parser.add_argument("--plan", default="standard", help="What it may send (default: standard).")
        parser.add_argument("--display-name", default="", help="How people call it.")
        parser.add_argument("--issue-key", action="store_true", help="Issue a key named default with the scope ingest.")
        add_who_option(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with one_line_errors(), transaction.atomic():
            tenant = self._create(options)
            issued = None
            if options["issue_key"]:
                issued = services.key_issue(tenant=tenant, name="default", by=options["by"])
        if options["json"]:
            facts = {"tenant": tenant.name, "plan": tenant.plan.name, "status": tenant.status}
            print_json(self, facts | ({"key": key_facts(issued[0]) | {"secret": issued[1]}} if issued else {}))
            return
        self.stdout.write(f"Created tenant {tenant.name} on plan {tenant.plan.name}.")
        if issued:
            print_secret(self, issued[1])

    def _create(self, options: dict[str, Any]) -> Tenant:
        try:
            return services.tenant_create(
                name=options["name"],
                plan=options["plan"],
                display_name=options["display_name"],
                by=options["by"],
            )
        except services.TenantExists as refusal:
            raise CommandError(str(refusal), returncode=EXISTS_ALREADY) from refusal
