"""`manage.py snapshot`: the builder process of a node."""

import signal
import threading
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

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
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        builder.step()
        while not options["once"] and not stop.wait(settings.FOREBAY_SNAPSHOT_POLL_MS / 1000):
            builder.step()
