"""`manage.py tail`: the client's `forebay tail`, to the platform of this machine. Control plane; one thread.

Lines go in by HTTP with a key, as from anywhere else: quotas, rules and the journal see no difference.
"""

import os
from argparse import Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from forebay.local import demo, env_file, node
from forebay_client.tail import command
from forebay_client.tail.failures import TailError


class Command(BaseCommand):
    help = (
        "Follow log files and send their lines to the platform of this machine: `forebay tail` of the Python client,"
        " with the address of `manage.py up` or `serve`, the key of the local demo, and checkpoints under"
        " FOREBAY_VAR_DIR as defaults."
    )
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=command.EPILOG, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        command.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        environment = {"FOREBAY_URL": node.local_url(), "FOREBAY_KEY": _demo_key(), **os.environ}
        try:
            chosen = command.options_of(Namespace(**options), environment, Path(settings.FOREBAY_VAR_DIR) / "tail")
            command.run(chosen, command.say_on_stderr)
        except TailError as error:
            raise CommandError(str(error)) from error


def _demo_key() -> str:
    """Empty where `manage.py up` has made none."""
    return env_file.read(demo.default_path()).get("DEMO_API_KEY", "")
