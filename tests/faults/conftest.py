"""What the fault tests share: a node with Acme in it, Kafka that may break, windows that are shortened unless FULL=1.

Their tables are shown again at the end of the run: what was lost, sent twice and out of order is the point of them.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from tests.conftest import or_end_the_run
from tests.faults.brokers import BreakableKafka
from tests.faults.traffic import Client, Sent, event, ndjson
from tests.node import Node
from tests.programs import poll_until
from tests.services import KafkaCluster, Services

IS_FULL = os.environ.get("FULL") == "1"

# The shipped values are for outages of minutes; here an outage lasts seconds.
ACK_TIMEOUT_S = 5.0 if IS_FULL else 2.0
BREAKER_OPEN_S = 60.0 if IS_FULL else 3.0
# With the shipped window what waits for a trial of the breaker heals by so much later.
HEALS_LATER_S = BREAKER_OPEN_S if IS_FULL else 0.0
_WINDOWS = {
    "FOREBAY_JOURNAL_ADOPT_INTERVAL_S": "2" if IS_FULL else "0.5",
    "FOREBAY_ACK_TIMEOUT_S": str(ACK_TIMEOUT_S),
    "FOREBAY_BREAKER_OPEN_S": str(BREAKER_OPEN_S),
}


class Served(NamedTuple):
    """A node, and the key that Acme sends with."""

    node: Node
    key: str


Serve = Callable[..., Served]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What each fault test printed."""
    here = os.path.relpath(os.path.dirname(__file__), terminalreporter.startpath)
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and report.nodeid.startswith(here) and report.capstdout:
            terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}\n{report.capstdout.rstrip()}\n")


@pytest.fixture(scope="session")
def _kafka_of_the_session(services: Services) -> Iterator[BreakableKafka]:
    kafka = or_end_the_run(BreakableKafka)(services)
    yield kafka
    kafka.close()


@pytest.fixture
def kafka(_kafka_of_the_session: BreakableKafka) -> Iterator[BreakableKafka]:
    """A broker and a network that the test may break; they are mended after it."""
    yield _kafka_of_the_session
    _kafka_of_the_session.mend()


@pytest.fixture(scope="module")
def _cluster_of_the_module(services: Services) -> Iterator[KafkaCluster]:
    cluster = or_end_the_run(services.own_cluster)()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(_cluster_of_the_module: KafkaCluster) -> Iterator[KafkaCluster]:
    """Three brokers that the test may break; they are mended after it."""
    yield _cluster_of_the_module
    _cluster_of_the_module.mend()


@pytest.fixture
def serve(start_node: Callable[..., Node]) -> Serve:
    """Starts a node that knows Acme, whose plan does not limit what a test can send.

    Arguments are those of `start_node`; the environment goes on top of the shortened windows.
    """

    def start(*, environment: Mapping[str, str] | None = None, start: bool = True, **addresses: str) -> Served:
        node = start_node(environment={**_WINDOWS, **(environment or {})}, start=False, **addresses)
        key = admit_tenant(node, "acme")
        if start:
            node.start()
        return Served(node, key)

    return start


def admit_tenant(node: Node, name: str, *, plan: str = "agent") -> str:
    """A new tenant's key."""
    told = node.manage("tenant_create", name, "--plan", plan, "--issue-key", "--json")
    secret: str = json.loads(told)["key"]["secret"]
    return secret


def route_tenant(node: Node, tenant: str, topic: str, *, key: Sequence[str] = ("source",)) -> None:
    """All of a tenant's events go to a topic of their own, keyed by these fields."""
    node.manage(
        *("shell", "--verbosity", "0", "--command"),
        "from ingest.models import RoutingRule\n"
        "from ingest.rule_sets import rules_publish\n"
        "from tenants.models import Tenant\n"
        f"rule = RoutingRule.objects.create(name={tenant!r}, topic={topic!r}, key={list(key)!r})\n"
        f"rule.tenants.add(Tenant.objects.get(name={tenant!r}))\n"
        "rules_publish(by='tests', reason='a topic of its own')",
    )


def wait_until_known(node: Node, key: str, deadline_s: float = 20.0) -> None:
    """Until a worker takes the key: a running node hears of it within a second."""
    with Client(node.port, key) as client:
        known = poll_until(lambda: client.post("/api/logs", b"").status != 401, deadline_s)
    assert known, "the key is not known to the node"


def wait_until_acknowledged(node: Node, key: str, deadline_s: float = 30.0) -> Sent:
    """Until Kafka acknowledges: the topic is verified and the way to it is open. Returns what was sent for that."""
    sent = Sent()

    def is_acknowledged() -> bool:
        asked = event("first", len(sent.accepted))
        status = client.post("/api/logs?delivery=ack", ndjson([asked])).status
        sent.accepted.append(asked["eventId"])
        sent.codes[str(status)] += 1
        return status == 200

    with Client(node.port, key) as client:
        assert poll_until(is_acknowledged, deadline_s), f"nothing is acknowledged: {dict(sent.codes)}"
    return sent
