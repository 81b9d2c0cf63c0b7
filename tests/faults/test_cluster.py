"""Three brokers of which some die: leaders move and nobody notices; too few in sync means no 200, and no loss."""

from tests.faults.accounts import pending_events, seconds_until
from tests.faults.conftest import HEALS_LATER_S, Serve
from tests.faults.tally import tally
from tests.faults.traffic import Answer, Client, Traffic, event, ndjson
from tests.node import Node
from tests.services import KafkaCluster

PARTITIONS = 6
REQUESTS_PER_S = 100.0
REPLICATED = {"FOREBAY_TOPIC_PARTITIONS": str(PARTITIONS), "FOREBAY_TOPIC_REPLICATION_FACTOR": "3"}
# Enough keys that each partition surely has some; the first is kept for errors.
KEYS, ERRORS = 100, 10


class Asker:
    """Sends events for all partitions with `delivery=ack`, and keeps the answers."""

    def __init__(self, node: Node, key: str) -> None:
        self._node, self._key = node, key
        self.answers: list[Answer] = []

    def ask(self) -> Answer:
        with Client(self._node.port, self._key) as client:
            events = [
                event(f"asker-{number}", len(self.answers), level="ERROR" if number < ERRORS else "INFO")
                for number in range(KEYS)
            ]
            answer = client.post("/api/logs/batch?delivery=ack", ndjson(events))
        self.answers.append(answer)
        return answer

    def every_partition_is_writable(self) -> bool:
        answer = self.ask()
        return answer.status == 200 and {one["partition"] for one in answer.body["events"]} == set(range(PARTITIONS))

    @property
    def accepted(self) -> list[str]:
        return [one["eventId"] for answer in self.answers for one in answer.body["events"]]


def test_when_one_of_three_brokers_dies_every_partition_is_writable_again_within_30_s(
    serve: Serve, cluster: KafkaCluster, topic_name: str
) -> None:
    node, key = serve(kafka_bootstrap=cluster.bootstrap, environment=REPLICATED)
    asker = Asker(node, key)
    seconds_until(asker.every_partition_is_writable, 30)

    with Traffic(node.port, key, senders=3, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(1_000)
        cluster.brokers[1].kill()
        heal_s = seconds_until(asker.every_partition_is_writable, 60)
        traffic.wait_for(1_000)
    seconds_until(lambda: not pending_events(node.port))
    sent = traffic.sent
    sent.accepted += asker.accepted
    books = tally(sent, cluster.bootstrap, topic_name, node=node, heal_s=heal_s)

    assert heal_s < 30
    assert books.discrepancies == []
    assert set(books.sent.codes) == {"202"}
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)


def test_with_too_few_replicas_in_sync_nothing_is_answered_200_and_nothing_is_lost(
    serve: Serve, cluster: KafkaCluster, topic_name: str
) -> None:
    node, key = serve(
        kafka_bootstrap=cluster.bootstrap, environment=REPLICATED | {"FOREBAY_TOPIC_MIN_INSYNC_REPLICAS": "2"}
    )
    asker = Asker(node, key)
    seconds_until(asker.every_partition_is_writable, 30)

    with Traffic(node.port, key, senders=3, requests_per_s=REQUESTS_PER_S) as traffic:
        traffic.wait_for(1_000)
        for broker in cluster.brokers[1:]:
            broker.kill()
        asked_before = len(asker.answers)
        for _ in range(4):
            asker.ask()
        traffic.wait_for(1_000)
        cluster.mend()
        heal_s = seconds_until(asker.every_partition_is_writable, 60 + HEALS_LATER_S)
        seconds_until(lambda: not pending_events(node.port))
    sent = traffic.sent
    sent.accepted += asker.accepted
    books = tally(sent, cluster.bootstrap, topic_name, node=node, heal_s=heal_s)

    while_dead = asker.answers[asked_before : asked_before + 4]
    assert {answer.status for answer in while_dead} == {202}
    assert {one["status"] for answer in while_dead for one in answer.body["events"]} == {"Pending"}
    assert heal_s < 30 + HEALS_LATER_S
    assert books.discrepancies == []
    assert set(books.sent.codes) == {"202"}
    assert (books.lost, books.inversions) == (set(), 0)
