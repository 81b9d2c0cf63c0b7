"""`manage.py demo_broker`: a Kafka-like broker in memory for a machine without Java; started by `manage.py up`.

It is librdkafka's mock cluster inside a producer of its own; other processes connect to it over loopback. Admin calls
time out there, so the default topic is made here, with the mock's own partition count.
"""

import signal
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

METADATA_TIMEOUT_S = 10
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Command(BaseCommand):
    help = "Run the in-memory demo broker until SIGTERM; prints the address it listens on."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--address-file", type=Path, help="Also write the address into this file.")

    def handle(self, *args: Any, address_file: Path | None, **options: Any) -> None:
        # Blocked before librdkafka makes its threads, which inherit it: so only sigwait() below sees them.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        # The mock announces itself at level 5, which would be the one line on a quiet terminal.
        producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 4})
        cluster = producer.list_topics(settings.FOREBAY_TOPIC_DEFAULT, timeout=METADATA_TIMEOUT_S)
        address = ",".join(f"{broker.host}:{broker.port}" for broker in cluster.brokers.values())
        self.stdout.write(address)
        if address_file:
            _write_whole(address_file, address)
        signal.sigwait(STOP_SIGNALS)


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
