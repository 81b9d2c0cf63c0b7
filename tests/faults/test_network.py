"""The network between Forebay and Kafka: cut, slow, reset. `async` goes on into the journal, `ack` waits its bound."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

from tests.faults.accounts import pending_events, seconds_until
from tests.faults.brokers import BreakableKafka
from tests.faults.conftest import ACK_TIMEOUT_S, IS_FULL, Serve
from tests.faults.tally import tally
from tests.faults.traffic import Answer, Client, Traffic, event, ndjson
from tests.programs import poll_until

MIB = 1 << 20
# Random, so that the network carries as much as the queue holds.
KIB_TEXT = random.Random(1).randbytes(512).hex()
QUEUE_MIB = 64 if IS_FULL else 2
REQUESTS_PER_S = 120.0 if IS_FULL else 60.0
CUT_S = 90.0 if IS_FULL else 8.0
QUEUE = {"FOREBAY_PRODUCER_QUEUE_BYTES": str(QUEUE_MIB * MIB)}
# Compressed, these events pass a slow network too fast to fill a larger one.
SMALL_QUEUE = {"FOREBAY_PRODUCER_QUEUE_BYTES": str(2 * MIB)}
# An answer may be this much later than its bound: threads that wait for the processor, not for Kafka.
SLACK_S = 2.0
# A fraction of what the senders send.
SLOW_BYTES_PER_S = 256 * 1024


def ask_for_an_ack(port: int, key: str, number: int) -> Answer:
    with Client(port, key) as client:
        return client.post("/api/logs?delivery=ack", ndjson([event(f"asker-{number}", 0)]))


def test_a_cut_network_fills_the_queue_while_async_goes_on_and_ack_waits_its_bound(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.proxied, environment=QUEUE)

    with (
        Traffic(node.port, key, senders=3, requests_per_s=REQUESTS_PER_S, message=KIB_TEXT) as traffic,
        ThreadPoolExecutor(8) as askers,
    ):
        traffic.wait_for(500)
        kafka.proxy.cut()
        cut_s = time.monotonic()
        acks = list(askers.map(lambda number: ask_for_an_ack(node.port, key, number), range(8)))
        traffic.wait_for(2 * QUEUE_MIB * 1024, 120)
        assert poll_until(lambda: time.monotonic() > cut_s + CUT_S, 2 * CUT_S)
        waiting = pending_events(node.port)
        kafka.proxy.heal()
        heal_s = seconds_until(lambda: not pending_events(node.port), 4 * CUT_S + 60)
    sent = traffic.sent
    sent.accepted += [str(answer.body["eventId"]) for answer in acks]
    books = tally(sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    print(f"{waiting} events waited in the journal at the end of the cut")
    assert waiting > 0
    assert {(answer.status, answer.body["status"]) for answer in acks} == {(202, "Pending")}
    assert max(answer.took_s for answer in acks) < ACK_TIMEOUT_S + SLACK_S
    assert set(books.sent.codes) == {"202"}
    assert books.sent.slowest_s < SLACK_S
    assert books.discrepancies == []
    assert (books.lost, books.inversions, books.accounts.dead_lettered) == (set(), 0, 0)
    # What was on its way passes when the cut is over; librdkafka waits 30 s for its answer.
    assert books.duplicates == 0 or IS_FULL


def test_a_slow_network_delays_and_loses_nothing(serve: Serve, kafka: BreakableKafka, topic_name: str) -> None:
    node, key = serve(kafka_bootstrap=kafka.proxied, environment=SMALL_QUEUE)

    with Traffic(node.port, key, senders=3, requests_per_s=REQUESTS_PER_S, message=KIB_TEXT) as traffic:
        traffic.wait_for(500)
        kafka.proxy.slow(delay_s=0.1, bytes_per_s=SLOW_BYTES_PER_S)
        assert poll_until(lambda: pending_events(node.port) > 1_000, 60)
        kafka.proxy.heal()
        heal_s = seconds_until(lambda: not pending_events(node.port))
    books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    assert set(books.sent.codes) == {"202"}
    assert books.sent.slowest_s < SLACK_S
    assert books.discrepancies == []
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)
    assert books.accounts.dead_lettered == 0


def test_connections_that_are_reset_again_and_again_cost_nothing(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.proxied)

    with Traffic(node.port, key, senders=3) as traffic:
        for _ in range(5):
            traffic.wait_for(1_000)
            # There is nothing to break while librdkafka connects again.
            seconds_until(lambda: kafka.proxy.reset() > 0, 30)
        heal_s = seconds_until(lambda: not pending_events(node.port))
    books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    assert set(books.sent.codes) == {"202"}
    assert books.discrepancies == []
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)
    assert books.accounts.dead_lettered == 0
