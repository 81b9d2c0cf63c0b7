"""What the client's tests share: a real node that knows Acme, and the books of what was sent, accepted and stored."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from forebay_client import Client, Counters
from tests.consumer import Enough, Record, all_of, event_id, read_all, read_records
from tests.faults.conftest import admit_tenant
from tests.node import Node

_STORED_WITHIN_S = 60.0
IS_FULL = os.environ.get("FULL") == "1"


class Served(NamedTuple):
    """A node, Acme's key, and where Acme's events end up."""

    node: Node
    key: str
    bootstrap: str
    topic: str

    def read(self, event_ids: Iterable[str]) -> list[Record]:
        """Everything that is stored, once these events are, or at the deadline."""
        return self._read(all_of(event_ids))

    def read_count(self, count: int) -> list[Record]:
        """Everything that is stored, once there are so many, or at the deadline."""
        return self._read(lambda records: len(records) >= count)

    def _read(self, enough: Enough) -> list[Record]:
        read_records(self.bootstrap, self.topic, until=enough, deadline_s=_STORED_WITHIN_S)
        return read_all(self.bootstrap, self.topic)


Serve = Callable[..., Served]
MakeClient = Callable[..., Client]


@pytest.fixture
def serve(start_node: Callable[..., Node], kafka_bootstrap: str, topic_name: str) -> Serve:
    """Starts a node; Acme's plan does not limit what a test can send."""

    def start(*, environment: Mapping[str, str] | None = None, start: bool = True) -> Served:
        node = start_node(environment=environment, start=False)
        key = admit_tenant(node, "acme")
        if start:
            node.start()
        return Served(node, key, kafka_bootstrap, topic_name)

    return start


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Clients of a node, or of whatever port leads there; closed after the test."""
    clients: list[Client] = []

    def make(served: Served, port: int | None = None, **options: Any) -> Client:
        url = f"http://127.0.0.1:{port or served.node.port}"
        clients.append(Client(url, served.key, source="shop", **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close(0)


@dataclass(frozen=True)
class Books:
    """By event id: what the application handed over, and what Kafka holds; and what the client says of it."""

    sent: list[str]
    records: list[Record]
    counters: Counters

    def __post_init__(self) -> None:
        said = self.counters
        print(
            f"sent {len(self.sent)}, accepted {said.accepted}, stored {len(self.stored)}, lost {len(self.lost)},"
            f" duplicates {self.duplicates}, dropped {dict(said.dropped)}, rejected {dict(said.rejected)},"
            f" spooled {said.spooled}, recovered {said.recovered}, retries {said.retries} of {said.requests} requests"
        )

    @property
    def stored(self) -> set[str]:
        return {event_id(record) for record in self.records}

    @property
    def lost(self) -> set[str]:
        return set(self.sent) - self.stored

    @property
    def duplicates(self) -> int:
        return len(self.records) - len(self.stored)

    @property
    def stored_twice(self) -> set[str]:
        """Or more often."""
        return {name for name, times in Counter(map(event_id, self.records)).items() if times > 1}

    @property
    def adds_up(self) -> bool:
        """Whether every event that was handed over has one end, and the client counts the same as Kafka."""
        said = self.counters
        ends = said.accepted + sum(said.rejected.values()) + sum(said.dropped.values())
        left = said.buffered_events + said.spool_events
        return len(self.sent) == said.taken and said.taken + said.recovered == ends + left


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What each test printed: sent, accepted, stored is the point of them."""
    here = os.path.relpath(os.path.dirname(__file__), terminalreporter.startpath)
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and report.nodeid.startswith(here) and report.capstdout:
            terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}\n{report.capstdout.rstrip()}\n")
