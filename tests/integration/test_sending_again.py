"""A node of two workers: what many connections send again is in Kafka once, and what is rejected is in the table."""

import http.client
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from tests.consumer import Record, read_records
from tests.faults.conftest import admit_tenant
from tests.node import Node
from tests.programs import poll_until

CONNECTIONS, REQUESTS, EVENTS = 6, 40, 5
GOOD = {"source": "checkout", "level": "INFO", "message": "paid"}


def post(node: Node, key: str, events: list[dict[str, Any]], idempotency_key: str = "") -> tuple[int, str, Any]:
    """Status, Idempotency-Status and body; over a connection of its own, so that either worker may get it."""
    headers = {"X-API-Key": key} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
    try:
        connection.request("POST", "/api/logs/batch", json.dumps(events), headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Idempotency-Status", ""), json.loads(answer.read())
    finally:
        connection.close()


def post_until_answered(node: Node, key: str, events: list[dict[str, Any]], idempotency_key: str = "") -> Any:
    """As an SDK does: a 409 with Retry-After is asked again, though sooner here."""
    while (answer := post(node, key, events, idempotency_key))[0] == http.HTTPStatus.CONFLICT:
        pass
    return answer


def test_what_is_sent_again_to_two_workers_is_in_kafka_once(
    start_node: Callable[..., Node], kafka_bootstrap: str, topic_name: str
) -> None:
    node = start_node(start=False, environment={"FOREBAY_WORKERS": "2", "FOREBAY_WORKER_ON_ONE_CPU": "false"})
    key = admit_tenant(node, "acme")
    node.manage("plan_set", "agent", "--idempotency-keys", "on", "--deduplicates", "on")
    node.start()
    by_key = [([GOOD | {"message": f"{n}"}] * EVENTS, f"key-{n}") for n in range(REQUESTS)]
    by_event_id = [([GOOD | {"eventId": f"e-{n}-{i}"} for i in range(EVENTS)], "") for n in range(REQUESTS)]

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        answers = list(
            threads.map(lambda sent: post_until_answered(node, key, *sent), (by_key + by_event_id) * CONNECTIONS)
        )
    post(node, key, [GOOD | {"message": "end"}])

    def is_all(records: list[Record]) -> bool:
        return len(records) > 2 * REQUESTS * EVENTS and any(b'"end"' in record.value for record in records)

    found = read_records(kafka_bootstrap, topic_name, until=is_all)
    events = [json.loads(record.value) for record in found]
    assert {answer[0] for answer in answers} == {202}
    assert {answer[2]["accepted"] for answer in answers} == {EVENTS}
    assert Counter(answer[1] for answer in answers)["replayed"] == REQUESTS * (CONNECTIONS - 1)
    assert Counter(event["message"] for event in events) == Counter(
        {str(n): EVENTS for n in range(REQUESTS)} | {"paid": REQUESTS * EVENTS, "end": 1}
    )
    ids = Counter(event["eventId"] for event in events if event["eventId"].startswith("e-"))
    assert ids == Counter({f"e-{n}-{i}": 1 for n in range(REQUESTS) for i in range(EVENTS)})


def test_what_is_rejected_is_in_the_table_as_the_plan_says(start_node: Callable[..., Node], database_url: str) -> None:
    node = start_node(start=False)
    acme, bolt = admit_tenant(node, "acme"), admit_tenant(node, "bolt", plan="standard")
    node.manage("plan_set", "agent", "--quarantine", "redacted")
    node.manage("plan_set", "standard", "--quarantine", "hash")
    node.start()
    bad = {"source": "checkout", "level": "bob@example.com", "message": "paid"}

    for key in (acme, bolt):
        assert post(node, key, [GOOD, bad])[0] == http.HTTPStatus.MULTI_STATUS

    query = "SELECT tenant, \"index\", code, text, sha256 <> '' FROM ingest_quarantinedevent ORDER BY tenant"
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert poll_until(lambda: len(connection.execute(query).fetchall()) == 2, deadline_s=20)
        rows = connection.execute(query).fetchall()
    redacted = json.dumps(bad | {"level": "[email]"})
    assert rows == [("acme", 1, "unknown_level", redacted, False), ("bolt", 1, "unknown_level", "", True)]
