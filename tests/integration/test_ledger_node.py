"""The ledger of a real node: what a tenant and an operator are told of it, over the death of a worker too."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.traffic import Client, event, ndjson
from tests.node import Node
from tests.programs import poll_until

SENT_EVENTS = 50


@pytest.fixture
def node(start_node: Callable[..., Node]) -> Node:
    return start_node()


@pytest.fixture
def key(node: Node) -> str:
    node.manage("tenant_create", "acme", "--plan", "agent")
    issued = json.loads(node.manage("key_issue", "acme", "--scopes", "ingest", "read", "--json"))
    return str(issued["secret"])


def usage(node: Node, key: str) -> dict[str, Any]:
    with Client(node.port, key) as client:
        answer = client.get("/api/usage?step=minute")
    return answer.body.get("total", {}) if answer.status == 200 else {}


def test_what_was_sent_is_told_and_adds_up_over_the_death_of_a_worker(node: Node, key: str) -> None:
    batch = [event("checkout", number) for number in range(SENT_EVENTS)] + [event("checkout", 0, level="LOUD")]
    with Client(node.port, key) as client:
        poll_until(lambda: client.post("/api/logs/batch", ndjson(batch)).status == 207, 10)
    assert poll_until(lambda: usage(node, key).get("delivered") == SENT_EVENTS, 10)

    node.kill_worker()
    node.wait_until_ready()
    with Client(node.port, key) as client:
        poll_until(lambda: client.post("/api/logs/batch", ndjson(batch)).status == 207, 10)
    poll_until(lambda: usage(node, key).get("delivered") == 2 * SENT_EVENTS, 15)
    checked = json.loads(node.manage("ledger_check", "--json", "--wait", "10"))

    assert checked["balanced"]
    assert checked["totals"]["acme"]["accepted"] == checked["totals"]["acme"]["delivered"] == 2 * SENT_EVENTS
    assert usage(node, key)["rejected"] == {"unknown_level": 2}


def test_a_key_that_only_sends_sees_no_usage(node: Node, key: str) -> None:
    sender = json.loads(node.manage("key_issue", "acme", "--json"))["secret"]
    with Client(node.port, sender) as client:
        poll_until(lambda: client.get("/api/usage").status == 403, 10)
        answer = client.get("/api/usage")

    assert answer.code == "missing_scope"
