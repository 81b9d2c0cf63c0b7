"""What Forebay itself says has become of the events: the other side of what a consumer of the tests' own finds."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.faults.conftest import HEALS_LATER_S
from tests.faults.traffic import Client
from tests.node import Node

_POLL_S = 0.1
# Workers tell their ledger each second, and some of them must first adopt a journal.
_SETTLED_WITHIN_S = 30.0


class Accounts(NamedTuple):
    """A tenant's events by their end, as the ledger counts them, and how it does not add up."""

    accepted: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    discarded: int = 0
    dropped: int = 0
    pending: int = 0
    mismatches: tuple[str, ...] = ()


def accounts_of(node: Node, tenant: str, delivered: Callable[[], int]) -> Accounts:
    """Asked until nothing is pending, it adds up and so many are delivered, or until it should have come to that. What
    is delivered is counted after each answer: an event that its sender got no answer for may come late."""
    give_up_s = time.monotonic() + _SETTLED_WITHIN_S
    while True:
        said = _ask(node, tenant)
        is_late = time.monotonic() > give_up_s
        adds_up = not said.pending and not said.mismatches
        if (adds_up or is_late) and (delivered() == said.delivered or is_late):
            return said


def pending_events(port: int) -> int:
    """What waits in the journals of the worker that answers."""
    with Client(port, "") as client:
        return int(client.get("/api/logs/health").body["journal_pending_events"])


def cluster_breaker(port: int) -> tuple[str, float]:
    """Where the cluster's breaker stands for the worker that answers, and for how many seconds it has."""
    with Client(port, "") as client:
        cluster = client.get("/api/logs/health").body["breakers"][0]
    return str(cluster["state"]), float(cluster["since_s"])


def seconds_until_open(port: int) -> float:
    """When, from now, the cluster's breaker opened, by its own word: on a busy machine the answer comes late."""
    began_s, since_s = time.monotonic(), 0.0

    def is_open() -> bool:
        nonlocal since_s
        state, since_s = cluster_breaker(port)
        return state == "OPEN"

    seconds_until(is_open)
    return time.monotonic() - since_s - began_s


def samples_of(node: Node, metric: str) -> list[Sample]:
    """What /metrics says of one metric."""
    with urllib.request.urlopen(f"{node.url}/metrics") as response:  # noqa: S310 - the node's own address
        families = list(text_string_to_metric_families(response.read().decode()))
    return [sample for family in families if family.name == metric for sample in family.samples]


def seconds_until(condition: Callable[[], bool], deadline_s: float = 60.0 + HEALS_LATER_S) -> float:
    """How long it took until it came true: the time to heal, which a breaker that has just opened keeps waiting. Fails
    the test at the deadline."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() < began_s + deadline_s, f"not healed after {deadline_s:.0f} s"
        time.sleep(_POLL_S)
    return time.monotonic() - began_s


def _ask(node: Node, tenant: str) -> Accounts:
    told = json.loads(node.manage("ledger_check", "--json", "--wait", "5", exit_codes=(0, 1)))
    figures = {name: told["totals"].get(tenant, {}).get(name, 0) for name in Accounts._fields if name != "mismatches"}
    return Accounts(**figures, mismatches=tuple(told["mismatches"]))
