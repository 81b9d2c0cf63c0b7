"""Kafka away for minutes under load: everything waits, the drain catches up while new events come, and none dies."""

import time

from tests.faults.accounts import pending_events, seconds_until
from tests.faults.brokers import BreakableKafka
from tests.faults.conftest import BREAKER_OPEN_S, IS_FULL, Serve
from tests.faults.tally import tally
from tests.faults.traffic import Traffic
from tests.programs import poll_until

OUTAGE_S = 300.0 if IS_FULL else 25.0
REQUESTS_PER_S = 40.0
# The drain sends at no less than 1.5 times the rate of arrival, so a backlog is gone after twice the time it took to
# come about; it begins within 10 s of the breaker's next try.
HEALED_WITHIN_S = 2 * (OUTAGE_S + BREAKER_OPEN_S + 10)


def test_an_outage_under_load_ends_with_no_dead_letter_and_nothing_lost(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=kafka.bootstrap)

    with Traffic(node.port, key, senders=4, batch_events=25, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(2_000)
        kafka.server.kill()
        killed_s = time.monotonic()
        assert poll_until(lambda: time.monotonic() > killed_s + OUTAGE_S, 2 * OUTAGE_S)
        waiting = pending_events(node.port)
        kafka.server.start()
        heal_s = seconds_until(lambda: not pending_events(node.port), 2 * HEALED_WITHIN_S)
    books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)

    print(f"outage of {OUTAGE_S:.0f} s, {waiting} events waiting at its end")
    assert heal_s < HEALED_WITHIN_S
    assert set(books.sent.codes) == {"202"}
    assert books.discrepancies == []
    assert (books.lost, books.inversions, books.accounts.dead_lettered) == (set(), 0, 0)
