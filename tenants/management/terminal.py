"""Control plane: how commands talk to a terminal or a script: who asks, one line for an error, a secret once."""

import getpass
import json
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError

from tenants import api_keys, services
from tenants.models import ApiKey, Tenant


def add_json_option(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print one JSON object, for scripts.")


def add_who_option(parser: CommandParser) -> None:
    """For the audit log."""
    parser.add_argument(
        "--by", default=shell_user(), metavar="NAME", help="Who you are. Default: the user of this shell."
    )


def add_why_option(parser: CommandParser) -> None:
    """For the audit log; a script that has none need not invent one."""
    parser.add_argument("--reason", default="", metavar="WHY", help="Why; kept in the audit log.")


def shell_user() -> str:
    """Empty in a container whose user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def natural_number(text: str) -> int:
    """For argparse: 0, 1, 2 and so on."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What the services and the database refuse, as one line without a traceback."""
    try:
        yield
    except ValidationError as error:
        raise CommandError(_in_one_line(error)) from error
    except services.Refused as error:
        raise CommandError(str(error)) from error
    except (OperationalError, ProgrammingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CommandError(f"The database refused ({reason}). Does it run, and was `manage.py migrate` run?") from error


def _in_one_line(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())


def tenant_named(name: str) -> Tenant:
    tenant = Tenant.objects.select_related("plan").filter(name=name).first()
    if tenant is None:
        raise CommandError(f"There is no tenant {name}: `manage.py tenant_create {name}` makes it.")
    return tenant


def key_named(text: str) -> ApiKey:
    """The key that a prefix names. What was typed is not repeated: it may be a secret with a slip in it."""
    key = ApiKey.objects.select_related("tenant").filter(prefix=api_keys.prefix_of(text)).first()
    if key is None:
        raise CommandError("No key has this prefix: give the 8 characters after fb_, as the console lists them.")
    return key


def key_facts(key: ApiKey) -> dict[str, Any]:
    return {
        "tenant": key.tenant.name,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "allowed_networks": key.allowed_networks,
        "expires_at": key.expires_at and key.expires_at.isoformat(),
    }


def print_json(command: BaseCommand, facts: dict[str, Any]) -> None:
    command.stdout.write(json.dumps(facts))


def print_secret(command: BaseCommand, secret: str) -> None:
    command.stdout.write(f"Key, shown only now: {secret}")
