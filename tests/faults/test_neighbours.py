"""One tenant at a hundred times the load, and another whose topic is denied: a third notices next to nothing."""

import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.consumer import Record, create_topic
from tests.faults.brokers import BreakableKafka, writing_denied
from tests.faults.conftest import IS_FULL, Serve, admit_tenant, route_tenant, wait_until_known
from tests.faults.distant import DistantTraffic
from tests.faults.tally import tally
from tests.faults.traffic import Traffic
from tests.programs import poll_until

MIB = 1 << 20
NOISE_S = 20.0 if IS_FULL else 6.0
# Kafka notes when it took a record, so that it can be told from when Forebay accepted it.
TIMED = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(2 * MIB)}
CALM: dict[str, Any] = {"batch_events": 10, "requests_per_s": 20.0}
# More than a hundred times as many events, so that a hundred it is where senders must wait for a processor.
LOUD: dict[str, Any] = {"senders": 4, "batch_events": 500, "requests_per_s": 50.0}
TIMES = 100
# The bound that is promised to the others, on two processors shared with Kafka and all the senders.
ANSWER_P99_S = 0.25
WAY_TO_KAFKA_P99_S = 2.0


def way_to_kafka_p99_s(records: Sequence[Record]) -> float:
    """From acceptance to Kafka: what a backlog costs."""
    ways_s = sorted(
        record.timestamp_ms / 1000 - datetime.fromisoformat(json.loads(record.value)["receivedAt"]).timestamp()
        for record in records
    )
    return ways_s[int(len(ways_s) * 0.99)]


def test_a_loud_tenant_and_a_denied_topic_leave_the_others_their_speed(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    topics = {name: f"{topic_name}-{name}" for name in ("bolt", "denied")}
    for topic in (topic_name, *topics.values()):
        create_topic(kafka.bootstrap, topic, config=TIMED)
    node, acmes_key = serve(kafka_bootstrap=kafka.bootstrap)
    keys = {name: admit_tenant(node, name) for name in topics}
    for name, topic in topics.items():
        route_tenant(node, name, topic)
        wait_until_known(node, keys[name])

    with Traffic(node.port, acmes_key, **CALM) as acme:
        acme.wait_for(500)
        with (
            writing_denied(kafka.bootstrap, topics["denied"]),
            DistantTraffic(node.port, keys["denied"], name="denied", **CALM) as denied,
            DistantTraffic(node.port, keys["bolt"], name="bolt", **LOUD) as bolt,
        ):
            until_s, before = time.monotonic() + NOISE_S, acme.accepted_events
            assert poll_until(lambda: time.monotonic() > until_s, 2 * NOISE_S)
            beside = acme.accepted_events - before
    node.manage("topic", "resume", "denied", topics["denied"], "--reason", "writing is allowed again")
    books = tally(acme.sent, kafka.bootstrap, topic_name, node=node, tenant="acme")
    of_bolt = tally(bolt.sent, kafka.bootstrap, topics["bolt"], node=node, tenant="bolt")
    of_denied = tally(denied.sent, kafka.bootstrap, topics["denied"], node=node, tenant="denied")

    way_s = way_to_kafka_p99_s(books.records)
    ratio = len(bolt.sent.accepted) / beside
    print(f"bolt had {ratio:.0f} times as many events accepted as acme beside it")
    print(f"acme's p99: answers {books.sent.p99_s * 1000:.0f} ms, to Kafka {way_s * 1000:.0f} ms")
    assert ratio >= TIMES
    assert books.sent.p99_s < ANSWER_P99_S
    assert way_s < WAY_TO_KAFKA_P99_S
    assert set(books.sent.codes) == {"202"}
    for one in (books, of_bolt, of_denied):
        assert one.discrepancies == []
        assert (one.lost, one.accounts.dead_lettered) == (set(), 0)
