"""Kafka absent at the start, killed, hanging until everything is full: nothing accepted is lost, memory is bounded."""

import time

from tests.consumer import create_topic
from tests.faults.accounts import pending_events, samples_of, seconds_until, seconds_until_open
from tests.faults.brokers import BreakableKafka
from tests.faults.conftest import IS_FULL, Serve, wait_until_acknowledged
from tests.faults.tally import tally
from tests.faults.traffic import Traffic
from tests.node import Node
from tests.programs import poll_until

MIB = 1 << 20
# Far below what a node can do, so that the time to heal is that of Kafka, the breaker and the drain.
REQUESTS_PER_S, BATCH_EVENTS = 100.0, 20
DEATHS = 3 if IS_FULL else 1
HANGS_S = 30.0 if IS_FULL else 6.0
OPENS_WITHIN_S = 10.0
FLUSH_S = 3


def test_a_node_that_starts_without_its_broker_accepts_and_delivers_once_it_comes(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    kafka.server.stop()
    node, key = serve(kafka_bootstrap=kafka.bootstrap)

    with Traffic(node.port, key, senders=3, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(2_000)
        waiting = pending_events(node.port)
        kafka.server.start()
        heal_s = seconds_until(lambda: not pending_events(node.port))
        traffic.wait_for(2_000)
    books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    assert waiting >= 2_000
    assert books.discrepancies == []
    assert set(books.sent.codes) == {"202"}
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)


def test_a_broker_killed_under_load_and_back_costs_nothing(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap)

    with Traffic(node.port, key, senders=3, requests_per_s=REQUESTS_PER_S) as traffic:
        for _ in range(DEATHS):
            traffic.wait_for(2_000)
            kafka.server.kill()
            traffic.wait_for(1_000)
            kafka.server.start()
        heal_s = seconds_until(lambda: not pending_events(node.port))
        openings = breaker_openings(node)
    books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    assert books.discrepancies == []
    assert set(books.sent.codes) == {"202"}
    assert (books.lost, books.inversions) == (set(), 0)
    # librdkafka makes no copies; a breaker that opens calls back what a broker may have written before it died.
    assert books.duplicates <= openings * REQUESTS_PER_S * BATCH_EVENTS


def test_a_broker_that_hangs_and_wakes_finds_everything_in_order(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap)
    first = wait_until_acknowledged(node, key)

    with Traffic(node.port, key, senders=4, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(1_000)
        kafka.server.freeze()
        frozen_s = time.monotonic()
        open_s = seconds_until_open(node.port)
        assert poll_until(lambda: time.monotonic() > frozen_s + HANGS_S, 2 * HANGS_S)
        kafka.server.thaw()
        heal_s = seconds_until(lambda: not pending_events(node.port))
        traffic.wait_for(1_000)
    first.add(traffic.sent)
    books = tally(first, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    print(f"the breaker was open {open_s:.1f} s after the broker fell silent")
    assert open_s < OPENS_WITHIN_S
    assert books.discrepancies == []
    assert set(books.sent.codes) <= {"200", "202"}
    assert (books.lost, books.inversions) == (set(), 0)
    # A request that the frozen broker has is answered when it wakes; librdkafka waits 30 s for that.
    assert books.duplicates == 0 or IS_FULL


def test_a_broker_that_falls_silent_opens_the_breaker_in_time_though_little_is_sent(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap)
    first = wait_until_acknowledged(node, key)

    with Traffic(node.port, key, senders=1, batch_events=1, requests_per_s=0.5) as traffic:
        traffic.wait_for(1)
        kafka.server.freeze()
        open_s = seconds_until_open(node.port)
        kafka.server.thaw()
        heal_s = seconds_until(lambda: not pending_events(node.port))
    first.add(traffic.sent)
    books = tally(first, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    print(f"with a request in two seconds the breaker was open {open_s:.1f} s after the broker fell silent")
    assert open_s < OPENS_WITHIN_S
    assert books.discrepancies == []
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)


def test_a_node_that_is_stopped_while_its_broker_hangs_ends_by_itself_and_in_time(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap, environment={"FOREBAY_PRODUCER_FLUSH_TIMEOUT_S": str(FLUSH_S)})
    first = wait_until_acknowledged(node, key)

    with Traffic(node.port, key, senders=2, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(1_000)
        kafka.server.freeze()
        traffic.wait_for(200)
    asked_s = time.monotonic()
    node.stop()
    took_s = time.monotonic() - asked_s
    kafka.server.thaw()
    node.start()
    heal_s = seconds_until(lambda: not pending_events(node.port))
    first.add(traffic.sent)
    books = tally(first, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    said = node.log.read_text()
    print(f"stopped within {took_s:.1f} s, of which Kafka was waited for {FLUSH_S} s")
    assert "they stay in the journal" in said
    assert "Killing worker" not in said
    assert books.discrepancies == []
    assert books.lost == set()


def test_records_that_time_out_on_their_way_go_back_to_the_journal_and_are_sent_again(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    window = {} if IS_FULL else {"FOREBAY_PRODUCER_MESSAGE_TIMEOUT_MS": "2000"}
    node, key = serve(kafka_bootstrap=kafka.bootstrap, environment=window)

    with Traffic(node.port, key, senders=2, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(1_000)
        kafka.server.freeze()
        assert poll_until(lambda: pending_events(node.port) >= 1_000, 240)
        kafka.server.thaw()
        heal_s = seconds_until(lambda: not pending_events(node.port))
        traffic.wait_for(1_000)
    books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    # Duplicates are no surprise here: the frozen broker had some of what timed out, and wrote it when it woke.
    assert books.discrepancies == []
    assert set(books.sent.codes) == {"202"}
    assert books.lost == set()


def test_a_full_producer_queue_backs_up_into_the_journal_until_that_is_full_too(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    create_topic(kafka.bootstrap, topic_name, config={"max.message.bytes": str(2 * MIB)})
    bounds = {
        "FOREBAY_PRODUCER_QUEUE_BYTES": str(MIB),
        "FOREBAY_JOURNAL_MAX_BYTES": str(32 * MIB),
        "FOREBAY_JOURNAL_SEGMENT_BYTES": str(4 * MIB),
    }
    node, key = serve(kafka_bootstrap=kafka.bootstrap, environment=bounds)
    at_rest_bytes = resident_bytes(node)

    with Traffic(node.port, key, senders=3, batch_events=100, pause_s=0, message="x" * 1_000) as traffic:
        traffic.wait_for(1_000)
        kafka.server.freeze()
        assert poll_until(lambda: len(traffic.sent.refusals) >= 10, 60)
        accepted_events, full_bytes = traffic.accepted_events, resident_bytes(node)
        kafka.server.thaw()
        traffic.wait_for(5_000)
    heal_s = seconds_until(lambda: not pending_events(node.port))
    books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)
    print(f"resident: at rest {at_rest_bytes // MIB} MiB, everything full {full_bytes // MIB} MiB")

    assert books.discrepancies == []
    assert set(books.sent.codes) == {"202", "503 journal_full"}
    assert all(int(refusal.headers["retry-after"]) >= 1 for refusal in books.sent.refusals)
    assert accepted_events * 1_000 > 8 * MIB
    assert full_bytes - at_rest_bytes < 64 * MIB
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)


def breaker_openings(node: Node) -> float:
    samples = samples_of(node, "forebay_breaker_transitions")
    return sum(sample.value for sample in samples if sample.labels.get("to") == "OPEN")


def resident_bytes(node: Node) -> int:
    """Of the only worker."""
    (pid,) = node.worker_pids()
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096
