"""`manage.py consume`: shows the records of a topic as any consumer would find them, so that a newcomer sees an event
come out. Control plane; one thread.
"""

import os
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from forebay.local import addresses
from ingest.records import CannotRead, Reader, as_json, as_text


class Command(BaseCommand):
    help = (
        "Show the records of a topic with partition, offset, time, key, headers and value, and leave no trace in"
        " Kafka. Kafka is the one of FOREBAY_KAFKA_BOOTSTRAP_SERVERS, else that of a running `manage.py up`."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--topic", default=settings.FOREBAY_TOPIC_DEFAULT, help="Default: %(default)s.")
        parser.add_argument("--follow", action="store_true", help="Wait for further records until Ctrl-C.")
        parser.add_argument(
            "--from",
            dest="start",
            choices=("beginning", "end"),
            default="beginning",
            help="end: only records that come from now on, so it needs --follow. Default: %(default)s.",
        )
        parser.add_argument("--max", type=int, metavar="N", help="Stop after N records.")
        parser.add_argument("--json", action="store_true", help="One JSON object a line.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["start"] == "end" and not options["follow"]:
            raise CommandError("--from end shows only records that come from now on: add --follow.")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._show(options)
        except CannotRead as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            # `| head` has seen enough; without this Python complains once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _show(self, options: dict[str, Any]) -> None:
        describe = as_json if options["json"] else as_text
        reader = Reader(addresses.kafka_bootstrap(), options["topic"], from_end=options["start"] == "end")
        try:
            records = reader.records(follow=options["follow"])
            for _, message in zip(range(options["max"] or sys.maxsize), records, strict=False):
                self.stdout.write(describe(message))
                self.stdout.flush()
        finally:
            reader.close()
