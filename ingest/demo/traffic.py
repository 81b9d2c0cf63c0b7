"""Senders of the demo: a thread each, over HTTP as any client, for a bounded time. A tenth of what they send is bad."""

import http.client
import json
import random
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ingest.demo.cast import SENDERS, Sender

ONE_IN_BAD = 10
TIMEOUT_S = 10.0
_SOURCES = ("checkout", "search", "payments-cards", "payments-refunds", "thumbnails", "accounts")
_LEVELS = ("DEBUG", "INFO", "INFO", "INFO", "INFO", "WARN", "ERROR")
_MESSAGES = (
    "order {n} was placed",
    "user {n} has signed in from a new device",
    "cache miss for product {n}",
    "payment {n} was authorized",
    "request {n} took longer than the 300 ms it should",
    "upstream closed the connection, attempt {n}",
)
_BAD: tuple[dict[str, object], ...] = (
    {"source": "checkout", "level": "LOUD", "message": "a level that nobody knows"},
    {"source": "", "level": "INFO", "message": "nobody sent this"},
    {"source": "search", "level": "INFO"},
    {"source": "accounts", "level": "INFO", "message": "long ago", "timestamp": "1999-12-31T23:59:59Z"},
)


class Traffic:
    """What is under way. `counts` is of events, and of requests under `limited` and `failed`."""

    def __init__(self, url: str, keys: Mapping[str, str], seconds: float) -> None:
        self.counts: Counter[str] = Counter()
        self._url, self._keys = url, keys
        self._ends_at_s = time.monotonic() + seconds
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._send_for, args=(sender,), name=sender.tenant, daemon=True)
            for sender in SENDERS
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Up to so long; whether all have ended."""
        deadline_s = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ends after the requests that are under way."""
        self._stopping.set()
        self.wait(TIMEOUT_S)

    def _send_for(self, sender: Sender) -> None:
        client = Client(self._url, self._keys[sender.tenant])
        pause_s = sender.batch_events / sender.events_per_s
        random_ = random.Random(sender.tenant)
        next_at_s = time.monotonic()
        while time.monotonic() < self._ends_at_s and not self._stopping.is_set():
            counted = client.post([event(random_) for _ in range(sender.batch_events)])
            with self._lock:
                self.counts.update(counted)
            # One that could not keep up does not catch up: the demo is no load test.
            next_at_s = max(next_at_s + pause_s, time.monotonic())
            self._stopping.wait(next_at_s - time.monotonic())
        client.close()


class Client:
    """One tenant's connection, made anew where it broke."""

    def __init__(self, url: str, key: str) -> None:
        self._address = urlsplit(url)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def post(self, events: list[dict[str, Any]]) -> Counter[str]:
        """Send a batch; what became of it."""
        try:
            status, body = self._answer_to(json.dumps(events))
        except (OSError, http.client.HTTPException):
            self.close()
            return Counter(failed=1)
        if status == http.HTTPStatus.TOO_MANY_REQUESTS:
            return Counter(limited=1)
        if status not in (http.HTTPStatus.ACCEPTED, http.HTTPStatus.MULTI_STATUS):
            return Counter(failed=1)
        told = json.loads(body)
        return Counter(accepted=told["accepted"], rejected=told["failed"])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _answer_to(self, body: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                self._address.hostname or "", self._address.port, timeout=TIMEOUT_S
            )
        self._connection.request("POST", "/api/logs/batch", body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def event(random_: random.Random) -> dict[str, Any]:
    """One event; one in ten is bad, and one of a picture in four is larger than its topic takes."""
    if random_.randrange(ONE_IN_BAD) == 0:
        return dict(random_.choice(_BAD))
    source = random_.choice(_SOURCES)
    made: dict[str, Any] = {
        "source": source,
        "level": random_.choice(_LEVELS),
        "message": random_.choice(_MESSAGES).format(n=random_.randrange(10_000)),
        "metadata": {"region": random_.choice(("eu", "us")), "release": "2.4.1"},
    }
    if source == "thumbnails" and random_.randrange(4) == 0:
        # Of random bytes, for a broker measures what is left after compression.
        made["message"] = f"a preview could not be stored: {b64encode(random_.randbytes(6_000)).decode()}"
        made["level"] = "ERROR"
    if made["level"] == "ERROR":
        made["stackTrace"] = f"at {source}.handle (app.py:{random_.randrange(400)})"
    return made
