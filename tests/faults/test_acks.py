"""`delivery=ack`: what a 200 says is true, a broker that hangs makes it a 202, and who waits keeps nobody else."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.consumer import event_id, read_all
from tests.faults.accounts import pending_events, seconds_until
from tests.faults.brokers import BreakableKafka
from tests.faults.conftest import ACK_TIMEOUT_S, IS_FULL, Serve, wait_until_acknowledged
from tests.faults.tally import tally
from tests.faults.traffic import Answer, Client, Sent, Traffic, event, ndjson
from tests.node import Node

ACK = "/api/logs/batch?delivery=ack"
# A quarter of the 64 threads that a worker ships with.
MOST_OF_A_TENANT = 16


def post(node: Node, key: str, source: str, count: int = 10) -> Answer:
    with Client(node.port, key) as client:
        return client.post(ACK, ndjson([event(source, number) for number in range(count)]))


def all_of(first: Sent, sent: Sent, answers: list[Answer]) -> Sent:
    """What was sent first, then by the traffic, and what the answers name."""
    first.add(sent)
    first.accepted += [one["eventId"] for answer in answers for one in answer.body["events"]]
    return first


def test_a_200_names_the_place_where_a_consumer_finds_the_event(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve()
    first = wait_until_acknowledged(node, key)

    with Traffic(node.port, key, senders=2) as traffic, ThreadPoolExecutor(4) as senders:
        traffic.wait_for(500)
        answers = list(senders.map(lambda at: post(node, key, f"waiting-{at}"), range(40)))
    sent = all_of(first, traffic.sent, answers)
    tally(sent, kafka_bootstrap, topic_name, node=node)
    told = {one["eventId"]: one for answer in answers for one in answer.body["events"]}
    stored = {event_id(record): record for record in read_all(kafka_bootstrap, topic_name)}

    statuses = Counter(answer.status for answer in answers)
    print(f"acknowledged requests: {dict(statuses)}")
    assert statuses == {200: 40}
    assert len(told) == 400
    for name, one in told.items():
        place = (stored[name].topic, stored[name].partition, stored[name].offset)
        assert (one["topic"], one["partition"], one["offset"]) == place


def test_with_a_hanging_broker_an_ack_becomes_a_pending_202_in_time_and_others_do_not_wait(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap)
    first = wait_until_acknowledged(node, key)
    kafka.server.freeze()

    with ThreadPoolExecutor(40) as senders:
        asked_s = time.monotonic()
        answers = senders.map(lambda at: post(node, key, f"waiting-{at}"), range(40))
        with Traffic(node.port, key, senders=2) as traffic:
            traffic.wait_for(1_000)
        async_took_s = time.monotonic() - asked_s
        waited = list(answers)
    kafka.server.thaw()
    heal_s = seconds_until(lambda: not pending_events(node.port))
    sent = all_of(first, traffic.sent, waited)
    books = tally(sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    at_once = [answer for answer in waited if answer.took_s < ACK_TIMEOUT_S / 2]
    slowest_s = max(answer.took_s for answer in waited)
    print(f"waited={len(waited) - len(at_once)} at once={len(at_once)} slowest={slowest_s:.2f} s")
    assert {answer.status for answer in waited} == {202}
    assert {one["status"] for answer in waited for one in answer.body["events"]} == {"Pending"}
    assert len(waited) - len(at_once) == MOST_OF_A_TENANT
    assert slowest_s < ACK_TIMEOUT_S + 2
    assert async_took_s < ACK_TIMEOUT_S
    assert books.discrepancies == []
    assert (books.lost, books.inversions) == (set(), 0)
    # Silent for as long as the shipped time to wait, a broker has what is called back when its breaker opens.
    assert books.duplicates == 0 or IS_FULL
