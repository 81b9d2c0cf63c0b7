"""What Forebay itself says has become of the events: the other side of what a consumer of the tests' own finds."""

import time
from collections.abc import Callable
from typing import NamedTuple

from tests.faults.traffic import Client
from tests.node import Node

_POLL_S = 0.1


class Accounts(NamedTuple):
    """Events by their end, and how it is said that they do not add up."""

    dead_lettered: int = 0
    pending: int = 0
    dropped: int = 0
    discarded: int = 0
    delivered: int | None = None  # None: nothing counts it


def accounts_of(node: Node, tenant: str) -> Accounts:
    """Of a tenant; the node has one worker, or has ended."""
    return Accounts(pending=pending_events(node.port) if node.is_running() else 0)


def pending_events(port: int) -> int:
    """What waits in the journals of the worker that answers."""
    with Client(port, "") as client:
        return int(client.get("/api/logs/health").body["journal_pending_events"])


def wait_until_drained(port: int, deadline_s: float = 60.0) -> int:
    """Of a node with one worker; returns what is still pending at the deadline."""
    give_up_s = time.monotonic() + deadline_s
    while (left := pending_events(port)) and time.monotonic() < give_up_s:
        time.sleep(_POLL_S)
    return left


def seconds_until(condition: Callable[[], bool], deadline_s: float = 60.0) -> float:
    """How long it took until it came true: the time to heal. Fails the test at the deadline."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() < began_s + deadline_s, f"not healed after {deadline_s:.0f} s"
        time.sleep(_POLL_S)
    return time.monotonic() - began_s
