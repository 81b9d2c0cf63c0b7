"""`manage.py snapshot`: the builder process of a node."""

from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from forebay.local.stop_signals import StopSignals
from ingest.builder import Builder
from ingest.topics import Topics


class Command(BaseCommand):
    help = (
        "Write what the event path needs to know into a file whenever the control plane changes (a child of up, serve)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="build one snapshot and end")

    def handle(self, *args: Any, **options: Any) -> None:
        timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
        client = redis.Redis.from_url(
            settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )
        builder = Builder(settings.FOREBAY_SNAPSHOT_FILE, client, Topics())
        # Not an Event that the handler sets: a signal in the middle of its wait() would find its lock taken, for good.
        with StopSignals() as signals:
            while not signals.asked:
                builder.step()
                if options["once"]:
                    return
                signals.wait(settings.FOREBAY_SNAPSHOT_POLL_MS / 1000)
