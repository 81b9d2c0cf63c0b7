"""One record that Kafka refuses: it alone is refused or a dead letter, its neighbours in the batch arrive."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.consumer import create_topic
from tests.faults.accounts import pending_events, seconds_until
from tests.faults.brokers import BreakableKafka, set_max_message_bytes
from tests.faults.conftest import Serve, wait_until_acknowledged
from tests.faults.tally import tally
from tests.faults.traffic import Answer, Client, event, ndjson

KIB = 1 << 10
EVENTS, THE_BAD_ONE = 500, 250
# Wide enough for every single neighbour, and for a whole batch of them, compressed.
LOWERED_BYTES = 32 * KIB
# Random text, so that no compression brings it below the limit.
OVERSIZE_TEXT = random.Random(1).randbytes(64 * KIB).hex()
NEIGHBOURS = 8


def one_bad_among_many() -> list[dict[str, Any]]:
    events = [event("acme", number) for number in range(EVENTS)]
    events[THE_BAD_ONE]["message"] = OVERSIZE_TEXT
    return events


def test_of_five_hundred_records_the_one_oversize_is_a_dead_letter_and_the_others_arrive(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    create_topic(kafka.bootstrap, topic_name, config={"max.message.bytes": str(2 << 20)})
    node, key = serve(kafka_bootstrap=kafka.bootstrap)
    events = one_bad_among_many()
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


def test_with_ack_the_sender_of_the_oversize_is_told_and_nobody_else_is_refused(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    create_topic(kafka.bootstrap, topic_name, config={"max.message.bytes": str(2 << 20)})
    # Time enough for each of a batch to be tried alone, and for batches that requests share.
    node, key = serve(kafka_bootstrap=kafka.bootstrap, environment={"FOREBAY_ACK_TIMEOUT_S": "10"})
    events = one_bad_among_many()

    def post(body: bytes) -> Answer:
        with Client(node.port, key) as client:
            return client.post("/api/logs/batch?delivery=ack", body)

    sent = wait_until_acknowledged(node, key)
    neighbours = [[event(f"neighbour-{at}", number) for number in range(5)] for at in range(NEIGHBOURS)]
    set_max_message_bytes(kafka.bootstrap, topic_name, LOWERED_BYTES)
    with ThreadPoolExecutor(NEIGHBOURS + 1) as senders:
        asked = senders.submit(post, ndjson(events))
        theirs = list(senders.map(post, map(ndjson, neighbours)))
        answer = asked.result()
    sent.accepted += [str(one["eventId"]) for at, one in enumerate(events) if at != THE_BAD_ONE]
    sent.accepted += [str(one["eventId"]) for batch in neighbours for one in batch]
    sent.refused.append(str(events[THE_BAD_ONE]["eventId"]))
    for one in (answer, *theirs):
        sent.codes[str(one.status)] += 1
    books = tally(sent, kafka.bootstrap, topic_name, node=node)

    assert (answer.status, answer.body["accepted"], answer.body["failed"]) == (207, EVENTS - 1, 1)
    assert [(error["index"], error["code"]) for error in answer.body["errors"]] == [(THE_BAD_ONE, "undeliverable")]
    assert Counter(state["status"] for state in answer.body["events"]) == {"Delivered": EVENTS - 1}
    assert {one.status for one in theirs} == {200}
    assert (books.lost, books.uninvited, books.duplicates) == (set(), set(), 0)
    assert books.accounts.dead_lettered == 0
    assert books.discrepancies == []
