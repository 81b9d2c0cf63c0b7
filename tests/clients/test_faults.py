"""The server killed, slow, throttling, away: nothing is lost within the bounds, and what is beyond them is counted."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from forebay_client import Client, Event
from tests.clients.conftest import IS_FULL, Books, MakeClient, Serve
from tests.faults.proxy import Proxy
from tests.programs import poll_until

AWAY_S = 60.0 if IS_FULL else 6.0
EVENTS_PER_S = 500.0
TIMEOUT_S = 2.0
ALL_SENT_WITHIN_S = 120.0


class Application:
    """Hands over events at a rate until the `with` block is left, and knows what its slowest call was."""

    def __init__(self, client: Client, message: str = "") -> None:
        self.sent: list[str] = []
        self.slowest_s = 0.0
        self._client, self._message = client, message
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, more_events: int) -> None:
        goal = len(self.sent) + more_events
        assert poll_until(lambda: len(self.sent) >= goal, 60)

    def _run(self) -> None:
        began_s = time.monotonic()
        for number in itertools.count():
            if self._stop.wait(max(0.0, began_s + number / EVENTS_PER_S - time.monotonic())):
                return
            event = Event(self._message or f"number {number}")
            called_s = time.monotonic()
            self._client.send_nowait(event)
            self.slowest_s = max(self.slowest_s, time.monotonic() - called_s)
            self.sent.append(event.event_id)


@pytest.fixture
def proxies() -> Iterator[list[Proxy]]:
    opened: list[Proxy] = []
    yield opened
    for proxy in opened:
        proxy.close()


def test_a_server_that_is_killed_and_comes_back_gets_everything(serve: Serve, make_client: MakeClient) -> None:
    served = serve()
    # No living server is given up on: only the kill leaves a request without its answer.
    client = make_client(served, timeout_s=ALL_SENT_WITHIN_S)

    with Application(client) as application:
        application.wait_for(500)
        served.node.kill()
        sent_before_the_kill = set(application.sent)
        application.wait_for(1000)
        served.node.start()
        application.wait_for(500)
    assert client.flush(ALL_SENT_WITHIN_S)

    books = Books(application.sent, served.read(application.sent), client.counters())
    assert (books.lost, books.adds_up) == (set(), True)
    assert books.counters.retries > 0
    # Twice is at most what the dead node had accepted and not noted as delivered, and what it had not answered.
    assert books.stored_twice <= sent_before_the_kill


def test_a_server_that_is_away_gets_everything_from_memory_and_disk(
    serve: Serve, make_client: MakeClient, tmp_path: Path
) -> None:
    served = serve()
    # The buffer holds a fraction of what comes meanwhile.
    client = make_client(served, spool_dir=tmp_path / "spool", buffer_max_bytes=200_000, batch_max_events=100)

    with Application(client) as application:
        application.wait_for(500)
        assert served.node.stop() == 0
        application.wait_for(int(AWAY_S * EVENTS_PER_S))
        held = client.counters()
        served.node.start()
        application.wait_for(500)
    assert client.flush(ALL_SENT_WITHIN_S)

    books = Books(application.sent, served.read(application.sent), client.counters())
    print(f"away for {AWAY_S:.0f} s: {held.spool_events} events on the disk, {held.buffered_bytes} bytes in memory")
    assert (books.lost, books.adds_up) == (set(), True)
    assert held.buffered_bytes <= 200_000
    assert held.spool_events > 0
    assert (dict(books.counters.dropped), books.counters.spool_events) == ({}, 0)
    # At most the one request that the stopping server did not answer.
    assert books.duplicates <= 100


def test_over_the_bound_of_its_memory_what_is_lost_is_counted(serve: Serve, make_client: MakeClient) -> None:
    served = serve()
    client = make_client(served, buffer_max_bytes=200_000, batch_max_events=100)

    with Application(client) as application:
        application.wait_for(200)
        assert served.node.stop() == 0
        application.wait_for(2000)
        served.node.start()
        application.wait_for(500)
    assert client.flush(ALL_SENT_WITHIN_S)

    stored = served.read_count(client.counters().accepted)
    books = Books(application.sent, stored, client.counters())
    assert books.counters.dropped["buffer_full"] > 0
    assert len(books.lost) == books.counters.dropped["buffer_full"]
    assert len(books.stored) == books.counters.accepted
    assert books.adds_up


def test_a_server_that_throttles_is_obeyed_and_gets_everything(serve: Serve, make_client: MakeClient) -> None:
    served = serve(start=False)
    limited = ("--events-per-s", "1000", "--burst-events", "1000")
    told = served.node.manage("key_issue", "acme", "--name", "limited", *limited, "--json")
    served.node.start()
    client = make_client(served._replace(key=json.loads(told)["secret"]))

    began_s = time.monotonic()
    events = [Event(f"number {number}") for number in range(5000)]
    for event in events:
        assert client.send_nowait(event)
    assert client.flush(ALL_SENT_WITHIN_S)
    took_s = time.monotonic() - began_s

    sent = [event.event_id for event in events]
    books = Books(sent, served.read(sent), client.counters())
    print(f"5000 events at 1000 a second after a burst of 1000: {took_s:.1f} s")
    assert (books.lost, books.duplicates, books.adds_up) == (set(), 0, True)
    assert books.counters.retries > 0
    # Each refusal says one second: whoever obeys asks once or twice in each.
    assert books.counters.retries <= 3 * took_s


def test_a_slow_and_breaking_network_slows_no_log_call_and_loses_nothing(
    serve: Serve, make_client: MakeClient, proxies: list[Proxy]
) -> None:
    served = serve(start=False)
    served.node.manage("plan_set", "agent", "--idempotency-keys", "on", "--deduplicates", "on")
    served.node.start()
    proxies.append(proxy := Proxy(served.node.port))
    client = make_client(served, proxy.port, timeout_s=TIMEOUT_S)

    with Application(client) as application:
        application.wait_for(300)
        proxy.slow(delay_s=0.3)
        application.wait_for(700)
        for _ in range(5):
            proxy.reset()
            application.wait_for(100)
        proxy.heal()
        proxy.cut()
        application.wait_for(1500)
        held = client.counters()
        proxy.heal()
    assert client.flush(ALL_SENT_WITHIN_S)

    books = Books(application.sent, served.read(application.sent), client.counters())
    print(f"slowest call {application.slowest_s * 1000:.1f} ms")
    # The tenant's plan tells copies: what was sent again because its answer was lost is there once.
    assert (books.lost, books.duplicates, books.adds_up) == (set(), 0, True)
    assert books.counters.retries > 0
    # Handed over while nothing passed: no call waited for the network.
    assert held.buffered_events >= 1500
