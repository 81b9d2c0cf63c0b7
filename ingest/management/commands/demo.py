"""Control plane: `manage.py demo`: fill a running platform, so that each page of the console has something to show."""

import http.client
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from forebay.local import node
from ingest.demo import cast, operators
from ingest.demo.broken_topic import TOO_SMALL_BYTES, BrokenTopic, NotPossible
from ingest.demo.traffic import Client, Traffic
from tenants.management.terminal import natural_number, one_line_errors

SECONDS = 120
SAY_EACH_S = 10.0
_KEYS_KNOWN_WITHIN_S = 30.0
_DEAD_WITHIN_S = 10.0


class Command(BaseCommand):
    help = (
        "Fill a platform that runs (`make up`) with three tenants, rules, traffic of which a tenth is bad, a tenant"
        " over its quota, a topic that refuses large events, and what operators would do: a tenant's events for a topic"
        " are parked, a breaker was forced open for a moment, a bulk replay is planned. What is there already is kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--seconds",
            type=natural_number,
            default=SECONDS,
            metavar="N",
            help=f"How long to send. Default: {SECONDS}.",
        )
        parser.add_argument("--url", default=node.local_url(), help="Where the platform is. Default: %(default)s.")
        parser.add_argument(
            "--mend",
            action="store_true",
            help="Only mend what the demo broke: the topic takes large events again, so that its dead letters can be"
            " replayed, and what is parked is resumed.",
        )

    def handle(self, *args: Any, seconds: int, url: str, mend: bool, **options: Any) -> None:
        topic = BrokenTopic(cast.PICTURES_TOPIC)
        try:
            if mend:
                self._mend(topic)
            else:
                self._fill(topic, seconds, url.rstrip("/"))
        except KeyboardInterrupt:
            self._say("stopped; what was made stays")

    def _fill(self, topic: BrokenTopic, seconds: int, url: str) -> None:
        _check_ready(url)
        with one_line_errors():
            keys = cast.keys_ensure()
            self._say(f"{len(keys)} tenants, their keys in {cast.keys_path()}")
            self._rules_and_topic(topic)
        _wait_until_known(url, keys)
        operators.park()
        self._say(f"{operators.PARKED_TENANT}'s events for {cast.PAYMENTS_TOPIC} are parked")
        traffic = Traffic(url, keys, seconds)
        operators.force_open()
        try:
            self._send(traffic, seconds)
        finally:
            operators.reset()
        self._plan_bulk_replay()
        self._end(traffic, url)

    def _rules_and_topic(self, topic: BrokenTopic) -> None:
        """A topic that was left broken is no longer verified: it is mended before its rule is published."""
        try:
            topic.mend()
            refused = cast.rules_ensure()
            self._say(f"routing rules are left alone: {refused}" if refused else "routing rules are live")
            if not refused:
                topic.spoil()
                self._say(f"topic {cast.PICTURES_TOPIC} takes {TOO_SMALL_BYTES:,} bytes from now on")
        except NotPossible as reason:
            self._say(f"no broken topic, so no dead letters: {reason}")

    def _mend(self, topic: BrokenTopic) -> None:
        try:
            topic.mend()
        except NotPossible as reason:
            raise CommandError(str(reason)) from reason
        self._say(f"topic {cast.PICTURES_TOPIC} takes what it took at first: its dead letters can be replayed")
        operators.resume()
        self._say(f"what {operators.PARKED_TENANT} has sent for {cast.PAYMENTS_TOPIC} goes out")

    def _send(self, traffic: Traffic, seconds: int) -> None:
        """Until the time is over, or Ctrl-C."""
        began_s = time.monotonic()
        self._say(f"sending for {seconds} s; Ctrl-C ends it early")
        traffic.start()
        with suppress(KeyboardInterrupt):
            while not traffic.wait(min(SAY_EACH_S, seconds)):
                self._say(f"{time.monotonic() - began_s:4.0f} s: {_in_words(traffic)}")
        traffic.stop()

    def _plan_bulk_replay(self) -> None:
        """A letter is written only some moments after Kafka has refused its record."""
        deadline_s = time.monotonic() + _DEAD_WITHIN_S
        while not operators.plan_bulk_replay():
            if time.monotonic() > deadline_s:
                return
            time.sleep(0.5)
        self._say("a bulk replay of the pictures is planned; `demo --mend`, then start it")

    def _end(self, traffic: Traffic, url: str) -> None:
        self._say(f"done: {_in_words(traffic)}\nNow look at")
        for path, what in (
            ("/admin/", "what came in and went out, who was limited, dead letters by cause"),
            (
                "/admin/ingest/deadletter/",
                f"events too large for {cast.PICTURES_TOPIC}; `demo --mend`, then replay them",
            ),
            ("/admin/breakers/", f"what is parked, and that the breaker of {cast.PAYMENTS_TOPIC} was forced open"),
            ("/admin/ingest/bulkreplay/", "a bulk replay that waits for its start"),
            ("/admin/senders/", f"usage against quotas; {cast.SMALL_PLAN} is over its own"),
            ("/admin/rules/", "the rules that are live, one of them shadowed; try one on an event"),
            ("/admin/ingest/quarantinedevent/", f"what {cast.SMALL_PLAN} sent that was no event"),
            ("/admin/ingest/ledgerminute/", "what became of every event, minute by minute"),
            ("/admin/tenants/auditentry/", "who did all this"),
        ):
            self._say(f"  {url}{path:34} {what}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _check_ready(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
    except OSError as error:
        raise CommandError(f"Nothing answers at {url}: start the platform first, with `make up`.") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise CommandError(f"The platform at {url} is not ready yet; {url}/health/ready says why.")


def _wait_until_known(url: str, keys: Mapping[str, str]) -> None:
    """Workers know a new key within a second; while they do not, it would only be counted as failed."""
    deadline_s = time.monotonic() + _KEYS_KNOWN_WITHIN_S
    for tenant, key in keys.items():
        client = Client(url, key)
        while "failed" in client.post([{"source": "demo", "level": "INFO", "message": "the demo begins"}]):
            if time.monotonic() > deadline_s:
                raise CommandError(f"The platform at {url} refuses the key of {tenant}: is its database another one?")
            time.sleep(0.5)
        client.close()


def _in_words(traffic: Traffic) -> str:
    counts = traffic.counts
    said = f"{counts['accepted']:,} events accepted, {counts['rejected']:,} rejected"
    said = f"{said}, {counts['limited']:,} requests limited"
    return f"{said}, {counts['failed']:,} failed" if counts["failed"] else said
