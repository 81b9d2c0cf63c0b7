"""The data plane's lower half in this process on a real Kafka: a producer that is replaced under load."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pytest_django import Settings

from ingest.dataplane.breaker import Breaker, BreakerLimits
from ingest.dataplane.ledger import Account
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.segments import Record
from ingest.engine import Engine
from tests.consumer import read_all
from tests.programs import poll_until

PARTITIONS = 3
RENEWALS = 5


class Worker:
    """What of a worker the engine needs, and a lane that takes requests of ten numbered records with one key."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.sent = 0
        self.lane_lock = threading.Lock()
        limits = BreakerLimits()
        breakers: dict[str, Breaker] = {}
        self.engine = Engine(
            self.lane_lock,
            lambda: {topic: TopicPolicy(topic, PARTITIONS, 1 << 20)},
            cluster=Breaker("", limits),
            breaker_of=lambda name: breakers.setdefault(name, Breaker(name, limits)),
            offer=lambda letter: False,
            now_s=time.monotonic,
        )
        self._stop = threading.Event()
        self._lane = threading.Thread(target=self._send_for_ever, daemon=True)

    def start(self) -> None:
        self.engine.start()
        self._lane.start()

    def stop_sending(self) -> None:
        self._stop.set()
        self._lane.join()

    def _send_for_ever(self) -> None:
        while not self._stop.wait(0.0005):
            self.send()

    def send(self) -> None:
        numbers = range(self.sent, self.sent + 10)
        records: list[Record] = [(self.topic, 0, b"k", str(number).encode(), 0) for number in numbers]
        flows, journal = self.engine.flows, self.engine.journal
        with self.lane_lock:
            wall_ms = time.time_ns() // 1_000_000
            origin, flow = journal.append("acme", wall_ms, records), flows.of("acme", self.topic)
            left = range(10)
            if not flow.is_behind and flows.may_leave(flow, 1_000):
                left = flows.hand_over(flow, origin, records, left, wall_ms, 1_000)  # type: ignore[assignment]
            if left:
                flows.wait(flow, origin, left)
        self.sent += 10


@pytest.fixture
def worker(settings: Settings, tmp_path: Path, kafka_bootstrap: str, topic_name: str) -> Iterator[Worker]:
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = kafka_bootstrap
    settings.FOREBAY_JOURNAL_DIR = tmp_path / "journal"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic_name, PARTITIONS, 1)])[topic_name].result(30)
    made = Worker(topic_name)
    made.start()
    yield made
    made.stop_sending()
    made.engine.stop()
    made.engine.close()


def test_a_producer_that_is_replaced_under_load_loses_nothing(worker: Worker, kafka_bootstrap: str) -> None:
    engine = worker.engine

    for _ in range(RENEWALS):
        in_flight = poll_until(lambda: len(engine.producer) > 0, 20)
        before = engine.producer.produce
        engine.producer.distrust("fatal")
        assert in_flight
        assert poll_until(lambda: engine.producer.produce != before, 20)  # noqa: B023 - awaited within the round
    worker.stop_sending()
    settled = poll_until(lambda: not engine.journal.unsettled, 60)

    numbers = [int(record.value) for record in read_all(kafka_bootstrap, worker.topic)]
    firsts = list(dict.fromkeys(numbers))
    totals = list(engine.journal.ledger.accounts.values())
    print(f"sent {worker.sent}, stored {len(firsts)}, duplicates {len(numbers) - len(firsts)}, renewals {RENEWALS}")
    assert settled
    assert firsts == list(range(worker.sent))
    assert sum(account.delivered for account in totals) == worker.sent
    assert sum(account.pending for account in totals) == 0


# --- with Kafka away -------------------------------------------------------------------------------------------------
FLUSH_S = 1


@pytest.fixture
def cut_off(settings: Settings, tmp_path: Path) -> Iterator[Worker]:
    """A worker with a record in the hands of each of its producers, neither of which reaches Kafka."""
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    settings.FOREBAY_JOURNAL_DIR = tmp_path / "journal"
    settings.FOREBAY_PRODUCER_FLUSH_TIMEOUT_S = FLUSH_S
    made = Worker("logs")
    made.engine.start()
    made.send()
    (in_flight,) = made.engine.flows.lines["logs"].outstanding
    made.engine.suspects.add(in_flight, 0, KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    assert poll_until(lambda: single_of(made) is not None, 20)
    yield made
    made.engine.close()


def single_of(worker: Worker) -> EventProducer | None:
    """The producer of single records, once one is in its hands."""
    return next((one.alone for one in worker.engine.flows.lines["logs"].outstanding if one.alone is not None), None)


def test_a_worker_that_stops_without_kafka_takes_the_flush_timeout_once(cut_off: Worker) -> None:
    cut_off.engine.journal.count(Account("acme", 0, received=1))
    began_s = time.monotonic()

    left = cut_off.engine.stop()

    assert time.monotonic() - began_s < FLUSH_S + 1
    assert left == 10 + 1
    assert sum(account.received for account in cut_off.engine.journal.ledger.accounts.values()) == 11


def test_a_producer_of_single_records_that_is_fatal_is_replaced_while_nothing_else_is_tried(cut_off: Worker) -> None:
    single = single_of(cut_off)
    assert single is not None
    before = single.produce

    single.distrust("fatal")

    assert poll_until(lambda: single.produce != before, 20)
    assert poll_until(lambda: indexes_sent(cut_off)[-1] == [0], 20), "it was not sent again"
    cut_off.engine.stop()


def indexes_sent(worker: Worker) -> list[list[int]]:
    """What the main producer has, call by call."""
    calls = tuple(worker.engine.flows.lines["logs"].outstanding)
    return [list(one.indexes) for one in calls if one.alone is None and not one.has_ended]
