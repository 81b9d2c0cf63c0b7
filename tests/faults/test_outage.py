"""Kafka away for minutes under load: everything waits, the drain catches up while new events come, and none dies."""

import time

from tests.faults.accounts import cluster_breaker, pending_events, samples_of, seconds_until, seconds_until_open
from tests.faults.brokers import BreakableKafka
from tests.faults.conftest import BREAKER_OPEN_S, IS_FULL, Serve, wait_until_acknowledged
from tests.faults.progress import Progress
from tests.faults.tally import tally
from tests.faults.traffic import Traffic
from tests.node import Node
from tests.programs import poll_until

OUTAGE_S = 300.0 if IS_FULL else 25.0
REQUESTS_PER_S = 40.0
BATCH_EVENTS = 25
FORGOTTEN_PER_S = 50 * BATCH_EVENTS
# Three seconds', for a busy machine: more than is ever on its way at once.
ON_THE_WAY_EVENTS = 3 * REQUESTS_PER_S * BATCH_EVENTS
TRIALS = 3
DRAINS_WITHIN_S = 10.0
# What the drain sends for each event that arrives meanwhile.
FASTER = 1.5
# So a backlog is gone after twice the time it took to come about.
HEALED_WITHIN_S = 2 * (OUTAGE_S + BREAKER_OPEN_S + DRAINS_WITHIN_S)


def test_an_outage_under_load_ends_with_no_dead_letter_and_nothing_lost(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap)
    first = wait_until_acknowledged(node, key)

    with Traffic(node.port, key, senders=4, batch_events=BATCH_EVENTS, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(2_000)
        kafka.server.kill()
        killed_s = time.monotonic()
        assert poll_until(lambda: time.monotonic() > killed_s + OUTAGE_S, 2 * OUTAGE_S)
        waiting, (state, _) = pending_events(node.port), cluster_breaker(node.port)
        kafka.server.start()
        with Progress(node.port, traffic, kafka.bootstrap, topic_name) as progress:
            heal_s = seconds_until(lambda: not pending_events(node.port), 2 * HEALED_WITHIN_S)
            traffic.wait_for(BATCH_EVENTS)
    first.add(traffic.sent)
    books = tally(first, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    drained_s = progress.drained_s(TRIALS * BATCH_EVENTS)
    deliveries, arrivals, took_s = progress.catching_up(drained_s)
    print(
        f"outage of {OUTAGE_S:.0f} s, {waiting} events waiting at its end; drained {drained_s - progress.tried_s:.1f} s"
        f" after the first try: {deliveries} deliveries and {arrivals} arrivals within {took_s:.1f} s"
    )
    assert state in ("OPEN", "HALF_OPEN")
    assert drained_s - progress.tried_s < DRAINS_WITHIN_S
    assert deliveries >= FASTER * arrivals
    assert heal_s < HEALED_WITHIN_S
    assert set(books.sent.codes) <= {"200", "202"}
    assert books.discrepancies == []
    assert (books.lost, books.inversions, books.accounts.dead_lettered) == (set(), 0, 0)
    # What was on its way when the broker died may have been written, and the open breaker calls it back.
    assert books.duplicates <= ON_THE_WAY_EVENTS


def test_fire_and_forget_is_dropped_and_counted_while_the_breaker_is_open_and_its_loss_is_known(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap)
    sent = wait_until_acknowledged(node, key)
    query = "?delivery=fire_and_forget"

    with (
        Traffic(node.port, key, senders=1, requests_per_s=10.0) as kept,
        Traffic(
            node.port, key, senders=1, requests_per_s=50.0, batch_events=BATCH_EVENTS, query=query, name="forgetful"
        ) as forgotten,
    ):
        kept.wait_for(200)
        forgotten.wait_for(1_000)
        kafka.server.kill()
        open_s = seconds_until_open(node.port)
        before = dropped_events(node)
        forgotten.wait_for(1_000)
        dropped_while_open = dropped_events(node) - before
        kafka.server.start()
        seconds_until(lambda: cluster_breaker(node.port)[0] == "CLOSED", 4 * BREAKER_OPEN_S + 60)
        heal_s = seconds_until(lambda: not pending_events(node.port))
        forgotten.wait_for(1_000)
    lost_of = forgotten.sent
    sent.add(kept.sent)
    sent.add(lost_of)
    # A dropped event is accepted and never arrives, as a dead letter.
    books = tally(sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s, dead_letters=len(lost_of.accepted))

    lost = books.lost
    print(
        f"fire_and_forget over a broker's restart, open {open_s:.1f} s after its death: "
        f"{len(lost)} of {len(lost_of.accepted)} events lost, {books.accounts.dropped} counted as dropped"
    )
    assert dropped_while_open > 0
    assert lost <= set(lost_of.accepted)
    # A broker that is killed may have stored what it has not acknowledged: that is counted as dropped, and is there.
    assert 0 <= books.accounts.dropped - len(lost) <= FORGOTTEN_PER_S / 2
    assert set(books.sent.codes) <= {"200", "202"}
    assert books.discrepancies == []


def dropped_events(node: Node) -> float:
    samples = samples_of(node, "forebay_events_dropped")
    return sum(sample.value for sample in samples if sample.labels.get("reason") == "fire_and_forget")
