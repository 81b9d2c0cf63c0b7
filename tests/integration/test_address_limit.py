"""The limit of requests per client address over real HTTP: the 101st is refused, and three workers keep the bound."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.node import Node
from tests.programs import poll_until

LIMIT = 100
EVENT = json.dumps({"source": "checkout", "level": "INFO", "message": "paid"}).encode()


class Reply(NamedTuple):
    second: int
    status: int
    code: str
    headers: dict[str, str]
    body: dict[str, object]


class Sender:
    """One connection that sends one request after the other."""

    def __init__(self, node: Node, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}"}

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self) -> Reply:
        self._connection.request("POST", "/api/logs", EVENT, self._headers)
        response = self._connection.getresponse()
        body = json.loads(response.read())
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(int(time.time()), response.status, body.get("code", ""), headers, body)


def served(start_node: Callable[..., Node], workers: int) -> tuple[Node, str]:
    """A node whose Acme has the plan `standard`, which allows 100 requests a second from an address."""
    node = start_node(environment={"FOREBAY_WORKERS": str(workers)}, start=False)
    told = json.loads(node.manage("tenant_create", "acme", "--plan", "standard", "--issue-key", "--json"))
    node.start()
    key: str = told["key"]["secret"]
    with Sender(node, key) as sender:
        assert poll_until(lambda: sender.post().status == 202, 30)
    return node, key


def await_a_new_second() -> None:
    began = int(time.time())
    poll_until(lambda: int(time.time()) > began, 2)


def within_a_second(send: Callable[[], list[Reply]]) -> list[Reply]:
    """What was sent and answered in one second of the wall clock; tried again when the second ended in between."""
    for _ in range(10):
        await_a_new_second()
        began = int(time.time())
        replies = send()
        if int(time.time()) == began:
            return replies
    pytest.fail("this machine does not answer in one second what the test sends")


def test_the_101st_request_of_a_second_is_refused(start_node: Callable[..., Node]) -> None:
    node, key = served(start_node, workers=1)

    with Sender(node, key) as sender:
        replies = within_a_second(lambda: [sender.post() for _ in range(LIMIT + 20)])
        let_in_again = poll_until(lambda: sender.post().status == 202, 5)

    assert [reply.status for reply in replies] == [202] * LIMIT + [429] * 20
    refused = replies[LIMIT]
    assert refused.code == "address_limit_exceeded"
    assert {name: refused.body[name] for name in ("scope", "what", "limit", "used")} == {
        "scope": "address",
        "what": "requests_per_s",
        "limit": LIMIT,
        "used": LIMIT,
    }
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit-policy"] == '"address-requests_per_s";q=100;w=1'
    assert refused.headers["ratelimit"] == '"address-requests_per_s";r=0;t=1'
    assert let_in_again


def test_three_workers_together_keep_the_bound(start_node: Callable[..., Node]) -> None:
    node, key = served(start_node, workers=3)

    def send_25(_: int) -> list[Reply]:
        # A connection each, so that the kernel spreads them over the workers.
        with Sender(node, key) as sender:
            return [sender.post() for _ in range(25)]

    def burst() -> list[Reply]:
        with ThreadPoolExecutor(12) as threads:
            return [reply for part in threads.map(send_25, range(12)) for reply in part]

    replies = within_a_second(burst)

    statuses = Counter(reply.status for reply in replies)
    print(f"{len(replies)} requests of one address to three workers in one second: {dict(statuses)}")
    assert len(node.worker_pids()) == 3
    assert set(statuses) == {202, 429}
    # Each worker leases a tenth of the limit at a time and may hold what it does not use.
    assert LIMIT - 2 * LIMIT // 10 <= statuses[202] <= LIMIT
