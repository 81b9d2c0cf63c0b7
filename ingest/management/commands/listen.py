"""`manage.py listen`: the process for what is not a request: streams, the live tail, syslog."""

import asyncio
import signal
import ssl
import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand

from ingest.dataplane.errors import Unavailable
from ingest.sources.listener import Listener
from ingest.worker import Worker, make_worker


class Command(BaseCommand):
    help = (
        "Serve streams and the live tail on FOREBAY_HOST:FOREBAY_LISTEN_PORT, and syslog where FOREBAY_SYSLOG_TCP,"
        " _TLS and _UDP say (a child of up, serve). SIGTERM drains it."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            node = make_worker("listen")
        except Unavailable as error:
            sys.exit(error.detail)
        try:
            asyncio.run(_listen(node))
        except (OSError, ssl.SSLError, ImproperlyConfigured) as error:
            sys.exit(f"cannot listen on {settings.FOREBAY_HOST}:{settings.FOREBAY_LISTEN_PORT} or for syslog: {error}")
        finally:
            node.close()


async def _listen(node: Worker) -> None:
    listener = Listener(node)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, listener.stop)
    await listener.run()
