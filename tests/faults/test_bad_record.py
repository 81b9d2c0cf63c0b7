"""One record that Kafka refuses: it alone becomes a dead letter, its neighbours in the batch arrive."""

import random

from tests.consumer import create_topic
from tests.faults.accounts import pending_events, seconds_until
from tests.faults.brokers import BreakableKafka, set_max_message_bytes
from tests.faults.conftest import Serve, wait_until_acknowledged
from tests.faults.tally import tally
from tests.faults.traffic import Client, event, ndjson

KIB = 1 << 10
EVENTS, THE_BAD_ONE = 500, 250
# Wide enough for every single neighbour, and for a whole batch of them, compressed.
LOWERED_BYTES = 32 * KIB
# Random text, so that no compression brings it below the limit.
OVERSIZE_TEXT = random.Random(1).randbytes(64 * KIB).hex()


def test_of_five_hundred_records_the_one_oversize_is_a_dead_letter_and_the_others_arrive(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    create_topic(kafka.bootstrap, topic_name, config={"max.message.bytes": str(2 << 20)})
    node, key = serve(kafka_bootstrap=kafka.bootstrap)
    events = [event("acme", number) for number in range(EVENTS)]
    events[THE_BAD_ONE]["message"] = OVERSIZE_TEXT
    bad_id = str(events[THE_BAD_ONE]["eventId"])

    sent = wait_until_acknowledged(node, key)
    with Client(node.port, key) as client:
        set_max_message_bytes(kafka.bootstrap, topic_name, LOWERED_BYTES)
        answer = client.post("/api/logs/batch", ndjson(events))
    heal_s = seconds_until(lambda: not pending_events(node.port))
    sent.accepted += [str(one["eventId"]) for one in events]
    sent.codes[str(answer.status)] += 1
    books = tally(sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s, dead_letters=1)

    assert answer.status == 202
    assert books.lost == {bad_id}
    assert books.accounts.dead_lettered == 1
    assert books.discrepancies == []
    assert books.duplicates == 0
