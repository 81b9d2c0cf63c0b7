"""Plain clients that send numbered events and remember what each answer was: http.client, and none of Forebay's code.

A test's traffic is many threads on a connection each, every one with a source of its own; an event says its source and
its number, so that a consumer can tell what is missing, what came twice and what overtook what. Without a rate each
sender waits for its answer and goes on (closed loop); with one, requests fall due whether it came or not (open loop).
"""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.programs import poll_until

ACCEPTED = (http.client.OK, http.client.ACCEPTED)
_AFTER_A_REFUSAL_S = 0.1


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    took_s: float

    @property
    def code(self) -> str:
        """The stable code of a refusal."""
        return str(self.body.get("code", ""))


class Client:
    """One keep-alive connection with one key; a connection that broke is opened anew by the next request."""

    def __init__(self, port: int, key: str, *, timeout_s: float = 60.0) -> None:
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, path: str, body: bytes) -> Answer:
        """Raises OSError or HTTPException when there is no answer."""
        return self._ask("POST", path, body)

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: bytes | None) -> Answer:
        started_s = time.monotonic()
        try:
            self._connection.request(method, path, body, self._headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, json.loads(text), headers, time.monotonic() - started_s)


@dataclass
class Sent:
    """What one sender did: event ids by the fate of their request."""

    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    refusals: list[Answer] = field(default_factory=list)
    slowest_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)  # of all answers; in an open loop, from when they were due

    @property
    def all(self) -> list[str]:
        return [*self.accepted, *self.refused, *self.unanswered]

    @property
    def p99_s(self) -> float:
        """99 % of the answers came within this."""
        ranked = sorted(self.latencies_s)
        return ranked[int(len(ranked) * 0.99)] if ranked else 0.0

    def add(self, other: "Sent") -> None:
        """What another sender did, too."""
        self.accepted += other.accepted
        self.refused += other.refused
        self.unanswered += other.unanswered
        self.codes += other.codes
        self.refusals += other.refusals
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.latencies_s += other.latencies_s


def event(source: str, number: int, *, message: str = "", level: str = "INFO") -> dict[str, Any]:
    """An event whose id says whose and which it is."""
    return {"source": source, "level": level, "message": message or f"number {number}", "eventId": f"{source}/{number}"}


def ndjson(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


class Traffic:
    """Senders that go on until the `with` block is left; a refusal or a broken connection only slows them down.

    Given several ports, a sender goes to the next after a refusal or a broken connection, as behind a load balancer.
    `requests_per_s` is that of all senders together.
    """

    def __init__(
        self,
        port: int | Sequence[int],
        key: str,
        *,
        senders: int = 2,
        batch_events: int = 20,
        pause_s: float = 0.01,
        message: str = "",
        query: str = "",
        name: str = "sender",
        requests_per_s: float = 0.0,
    ) -> None:
        self._ports, self._key = [port] if isinstance(port, int) else list(port), key
        self._interval_s = senders / requests_per_s if requests_per_s else 0.0
        self._batch_events, self._pause_s, self._message = batch_events, pause_s, message
        self._path = f"/api/logs/batch{query}"
        self._stop = threading.Event()
        self._by_sender = [Sent() for _ in range(senders)]
        self._threads = [
            threading.Thread(target=self._send_for_ever, args=(f"{name}-{at}", sent), name=f"{name}-{at}")
            for at, sent in enumerate(self._by_sender)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def sent(self) -> Sent:
        """Everybody's, so far."""
        total = Sent()
        for one in self._by_sender:
            total.add(one)
        return total

    @property
    def accepted_events(self) -> int:
        return sum(len(one.accepted) for one in self._by_sender)

    def wait_for(self, more_events: int, deadline_s: float = 60.0) -> None:
        """Blocks until so many more events than now have been accepted."""
        goal = self.accepted_events + more_events
        assert poll_until(lambda: self.accepted_events >= goal, deadline_s), (
            f"{self.accepted_events} of {goal} events accepted after {deadline_s:.0f} s: {dict(self.sent.codes)}"
        )

    def _send_for_ever(self, source: str, sent: Sent) -> None:
        ports, numbers, due_s = itertools.cycle(self._ports), itertools.count(), time.monotonic()
        while not self._stop.is_set():
            with Client(next(ports), self._key) as client:
                while not self._stop.is_set():
                    batch = [event(source, next(numbers), message=self._message) for _ in range(self._batch_events)]
                    was_accepted = _send(client, self._path, batch, sent, due_s if self._interval_s else None)
                    due_s += self._interval_s
                    self._stop.wait(self._until_next_s(due_s, was_accepted))
                    if not was_accepted and len(self._ports) > 1:
                        break

    def _until_next_s(self, due_s: float, was_accepted: bool) -> float:
        if self._interval_s:
            return max(0.0, due_s - time.monotonic())
        return self._pause_s if was_accepted else _AFTER_A_REFUSAL_S


def _send(client: Client, path: str, batch: list[dict[str, Any]], sent: Sent, due_s: float | None) -> bool:
    ids = [one["eventId"] for one in batch]
    try:
        answer = client.post(path, ndjson(batch))
    except (OSError, http.client.HTTPException):
        sent.unanswered += ids
        sent.codes["unanswered"] += 1
        return False
    sent.slowest_s = max(sent.slowest_s, answer.took_s)
    sent.latencies_s.append(answer.took_s if due_s is None else time.monotonic() - due_s)
    sent.codes[f"{answer.status} {answer.code}".strip()] += 1
    if answer.status in ACCEPTED:
        sent.accepted += ids
        return True
    sent.refused += ids
    sent.refusals.append(answer)
    return False
