"""The path of a request: what it charges, journals and produces, and what it refuses without leaving a trace."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from confluent_kafka import KafkaError
from prometheus_client import REGISTRY

from ingest.dataplane.acks import AckBudget, Place
from ingest.dataplane.callers import Callers
from ingest.dataplane.delivery import InFlight, Settlements
from ingest.dataplane.drain import Drain
from ingest.dataplane.errors import BadRequest, Refused, Throttled, TooLarge, Unavailable
from ingest.dataplane.event import decode_many, decode_one
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.partitioning import severity_first
from ingest.dataplane.pipeline import Arrival, Pipeline
from ingest.dataplane.policy import RulePolicy, TopicPolicy
from ingest.dataplane.producer import EventProducer
from ingest.dataplane.recent import RecentEvents
from tenants import api_keys
from tenants.leases import Allowance
from tenants.quotas import Limit, Quota, Scope, What
from tests.unit.dataplane.world import (
    ACME_KEY,
    BOLT_KEY,
    DEFAULTS,
    LIMITS,
    TOPIC,
    MemoryKafka,
    key,
    rule,
    snapshot,
    tenant,
)
from tests.unit.tenants.quota_world import FakeClock, MemoryBuckets, open_book

GOOD = {"source": "checkout", "level": "INFO", "message": "paid"}
PARTITION = severity_first(b"checkout", "INFO", TOPIC.partitions)
BOLTS = Quota(events_per_s=10, burst_events=5, bytes_per_s=1_000, burst_bytes=2_000)


class World:
    """One worker's pipeline: real journal, quotas and rules; Kafka and the shared buckets in memory."""

    def __init__(self, root: Path, *rules: RulePolicy, room: int = 1_000_000, journal_bytes: int = 60_000) -> None:
        size = SETTLE_RESERVE_BYTES + journal_bytes
        self.journal = Journal.create(root, segment_bytes=size, max_bytes=size)
        self.kafka = MemoryKafka(room)
        self.clock = FakeClock()
        self.buckets = MemoryBuckets(self.clock)
        self.book = open_book(self.buckets, self.clock)
        self.topics = {"logs": TOPIC, "small": TopicPolicy("small", 3, event_max_bytes=600)}
        acme, bolt = tenant("acme"), tenant("bolt", quota=BOLTS)
        self.callers = Callers(
            snapshot([acme, bolt], [key(ACME_KEY, "acme", 1), key(BOLT_KEY, "bolt", 2)], rules=rules), DEFAULTS
        )
        self.lane_lock = threading.Lock()
        self.settlements = Settlements(lambda in_flight, indexes: self.drain.release(in_flight, indexes))
        completed: deque[InFlight] = self.settlements.completed
        producer = cast(EventProducer, self.kafka)
        self.drain = Drain(self.lane_lock, producer, completed, lambda: self.topics, self.journal, self.clock)
        self.ack_budget = AckBudget(threads=4)
        self.recent = RecentEvents()
        self.pipeline = Pipeline(
            LIMITS, self.journal, self.drain, self.kafka.produce, completed, self.ack_budget, self.recent, "node-1"
        )

    def allowance(self, text: str = ACME_KEY) -> Allowance:
        caller = self.callers.find(api_keys.digest(text))
        assert caller is not None
        return self.book.allowance(caller.tenant.name, caller.tenant.quota, str(caller.key.key_id), caller.key.quota)

    def accept(self, sent: object, text: str = ACME_KEY, *, delivery: str = "", topics: Any = None) -> Outcome:
        """Takes in a list as a batch, anything else as a single event."""
        caller = self.callers.find(api_keys.digest(text))
        assert caller is not None
        verified = self.topics if topics is None else topics
        arrival = Arrival(caller, self.allowance(text), verified, "native", "192.0.2.7", "c-1", delivery)
        body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        with self.lane_lock:
            return self.pipeline.accept(decode_many if body[:1] == b"[" else decode_one, body, arrival)

    def refusal(self, sent: object, text: str = ACME_KEY) -> Refused:
        with pytest.raises(Refused) as raised:
            self.accept(sent, text)
        return raised.value

    def spent(self, what: What, text: str = BOLT_KEY) -> float:
        return sum(lease.spent for lease in self.allowance(text).leases if lease.limit.what is what)

    def journaled(self) -> list[tuple[str, int, bytes, dict[str, Any]]]:
        """Every record in the journal, read from its file."""
        found = []
        for segment in self.journal._segments:
            for _, _, entry in segment.entries(8, segment.size_bytes):
                found += [(t, p, k, json.loads(v)) for t, p, k, v in getattr(entry, "records", [])]
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.journal.close()


def rejected_total(reason: str) -> float:
    labels = {"tenant": "_other", "reason": reason}
    return REGISTRY.get_sample_value("forebay_events_rejected_total", labels) or 0.0


# --- what is taken in ------------------------------------------------------------------------------------------------
def test_an_event_is_in_the_journal_and_on_its_way_as_the_same_bytes(world: World) -> None:
    outcome = world.accept(GOOD | {"tenant": "bolt", "eventId": "order-17", "timestamp": None})

    ((topic, partition, record_key, value),) = world.journaled()
    assert (topic, record_key) == ("logs", b"checkout")
    assert 1 <= partition < 12
    assert value == {
        "source": "checkout",
        "level": "INFO",
        "message": "paid",
        "eventId": "order-17",
        "timestamp": outcome.received_at,
        "hostname": "192.0.2.7",
        "correlationId": "c-1",
        "tenant": "acme",
        "receivedAt": outcome.received_at,
        "receivedBy": "node-1",
    }
    ((message, produced_key, _),) = world.kafka.queue
    assert (json.loads(message.value()), produced_key) == (value, record_key)


def test_the_events_of_a_request_get_ids_that_sort_as_sent(world: World) -> None:
    world.accept([GOOD] * 5)

    ids = [value["eventId"] for _, _, _, value in world.journaled()]
    assert ids == sorted(set(ids))
    assert {UUID(one).version for one in ids} == {7}


def test_bad_events_of_a_batch_are_told_and_the_good_ones_go_on(world: World) -> None:
    before = rejected_total("unknown_level")

    outcome = world.accept([GOOD, {"source": ""}, GOOD | {"level": "LOUD"}, GOOD | {"timestamp": 0}, GOOD])

    assert outcome.accepted == 2
    assert {at: error.code for at, error in outcome.rejected.items()} == {
        1: "invalid_field",
        2: "unknown_level",
        3: "timestamp_out_of_range",
    }
    assert len(world.kafka.queue) == 2
    assert rejected_total("unknown_level") == before  # counted when the answer is known


def test_an_event_is_measured_with_all_that_is_added_to_it(world: World) -> None:
    outcome = world.accept([GOOD | {"message": "x" * 3_900}, GOOD])

    assert {at: error.code for at, error in outcome.rejected.items()} == {0: "event_too_large"}
    assert outcome.accepted == 1


def test_a_topic_that_takes_less_refuses_what_kafka_would(tmp_path: Path) -> None:
    world = World(tmp_path, rule("small"))

    outcome = world.accept([GOOD | {"message": "x" * 2_500}, GOOD])

    assert {at: error.code for at, error in outcome.rejected.items()} == {0: "event_too_large"}


def test_ten_events_are_a_request_and_eleven_are_not(world: World) -> None:
    before = rejected_total("too_many_events")

    outcome = world.accept([GOOD] * 10)
    refused = world.refusal([GOOD] * 11)

    assert outcome.accepted == 10
    assert isinstance(refused, TooLarge)
    assert refused.code == "too_many_events"
    assert len(world.journaled()) == 10
    assert rejected_total("too_many_events") == before + 11


def test_what_a_rule_drops_is_accepted_and_leaves_no_record(tmp_path: Path) -> None:
    world = World(tmp_path, rule("", levels=("DEBUG",), drop_reason="noise"))

    outcome = world.accept([GOOD | {"level": "DEBUG"}, GOOD])

    assert outcome.accepted == 2
    assert outcome.dropped == {0: "noise"}
    assert len(world.journaled()) == 1


def test_a_request_of_which_nothing_is_left_writes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, rule("", drop_reason="noise"))

    world.accept(GOOD)

    assert world.journaled() == []
    assert world.recent.take() == {}


def test_one_request_over_two_topics_is_one_append(tmp_path: Path) -> None:
    world = World(tmp_path, rule("small", source_glob="pay*"))

    world.accept([GOOD, GOOD | {"source": "payment"}, GOOD])

    (accept,) = [entry for s in world.journal._segments for _, _, entry in s.entries(8, s.size_bytes)]
    assert [record[0] for record in accept.records] == ["logs", "small", "logs"]  # type: ignore[union-attr]
    world.kafka.acknowledge_all()
    world.settlements.settle_all()
    assert world.journal.unsettled == 0


def test_the_last_event_of_a_request_is_in_the_sample(world: World) -> None:
    world.accept([GOOD | {"message": "first"}, GOOD | {"message": "last"}])

    (recent,) = world.recent.take().values()
    assert [json.loads(value)["message"] for value in recent.sample] == ["last"]
    assert recent.count == 2


# --- quotas ----------------------------------------------------------------------------------------------------------
def test_a_request_is_charged_whole_with_its_bad_events(world: World) -> None:
    sent = [GOOD, {"nothing": "good"}, GOOD | {"level": "LOUD"}]

    world.accept(sent, BOLT_KEY)

    assert world.spent(What.EVENTS_PER_S) == 3
    assert world.spent(What.BYTES_PER_S) == len(json.dumps(sent))


@pytest.mark.parametrize("body", [b"{", b"[{}", b"[]", b"{}", b'{"source":1}', b"[" * 1_000])
def test_a_body_that_cannot_be_taken_apart_costs_one_event(world: World, body: bytes) -> None:
    refused = world.refusal(body, BOLT_KEY)

    assert isinstance(refused, BadRequest)
    assert world.spent(What.EVENTS_PER_S) == 1
    assert world.spent(What.BYTES_PER_S) == len(body)


def test_bad_input_uses_a_quota_up_like_any_other(world: World) -> None:
    world.book.refill()
    refusals = [world.refusal(b"{", BOLT_KEY) for _ in range(4)]
    world.book.refill()
    world.accept(GOOD, BOLT_KEY)
    world.book.refill()

    assert {refused.status for refused in refusals} == {400}
    assert world.refusal(GOOD, BOLT_KEY).status == 429


def test_a_refusal_names_the_limit_and_takes_nothing(world: World) -> None:
    world.book.refill()
    world.accept([GOOD] * 5, BOLT_KEY)
    world.book.refill()
    before = rejected_total("quota_exceeded")

    refused = world.refusal([GOOD] * 2, BOLT_KEY)

    assert isinstance(refused, Throttled)
    assert refused.code == "quota_exceeded"
    assert refused.extra["scope"] == "tenant"
    assert (refused.extra["what"], refused.extra["limit"], refused.extra["burst"]) == ("events_per_s", 10, 5)
    assert refused.extra["used"] == 5
    assert refused.retry_after_s == pytest.approx(refused.extra["reset_s"], abs=0.001)
    assert world.spent(What.EVENTS_PER_S) == 5
    assert len(world.journaled()) == 5
    assert rejected_total("quota_exceeded") == before + 2


def test_a_request_over_the_burst_can_never_pass_and_is_told_so(world: World) -> None:
    refused = world.refusal([GOOD] * 6, BOLT_KEY)

    assert isinstance(refused, TooLarge)
    assert refused.code == "batch_exceeds_burst"
    assert refused.extra["burst"] == 5
    assert world.spent(What.EVENTS_PER_S) == 0


def test_bytes_have_a_burst_of_their_own(world: World) -> None:
    refused = world.refusal(GOOD | {"message": "x" * 2_000}, BOLT_KEY)

    assert (refused.code, refused.extra["what"]) == ("batch_exceeds_burst", "bytes_per_s")
    assert world.spent(What.EVENTS_PER_S) == 0


def test_a_refused_request_is_given_back(tmp_path: Path) -> None:
    world = World(tmp_path, journal_bytes=600)
    world.accept(GOOD, BOLT_KEY)
    spent = [world.spent(What.EVENTS_PER_S), world.spent(What.BYTES_PER_S)]
    before = rejected_total("journal_full")

    refused = world.refusal([GOOD] * 3, BOLT_KEY)

    assert isinstance(refused, Unavailable)
    assert refused.code == "journal_full"
    assert refused.retry_after_s is not None
    assert [world.spent(What.EVENTS_PER_S), world.spent(What.BYTES_PER_S)] == spent
    assert len(world.journaled()) == 1
    assert rejected_total("journal_full") == before + 3


def test_the_limits_of_a_key_count_beside_those_of_its_tenant(world: World) -> None:
    limit = Limit("bolt", Scope.TENANT, "", What.EVENTS_PER_S, 10, 5)

    assert limit in {lease.limit for lease in world.allowance(BOLT_KEY).leases}
    assert world.allowance(ACME_KEY).leases == ()


# --- behind, full, unknown -------------------------------------------------------------------------------------------
def test_an_unverified_topic_is_accepted_and_waits(world: World) -> None:
    outcome = world.accept(GOOD, topics={})

    assert outcome.accepted == 1
    assert world.kafka.queue == []
    assert world.drain.behind["acme", "logs"] == 1
    assert world.drain.pending == 1


def test_a_full_queue_leaves_the_rest_to_the_drain(tmp_path: Path) -> None:
    world = World(tmp_path, room=2)

    outcome = world.accept([GOOD] * 5)

    assert outcome.accepted == 5
    assert world.drain.pending == world.drain.behind["acme", "logs"] == 3


def test_while_a_topic_is_behind_its_events_are_only_appended(tmp_path: Path) -> None:
    world = World(tmp_path, room=1)
    world.accept([GOOD] * 2)
    world.kafka.room = 100

    world.accept(GOOD)

    assert len(world.kafka.queue) == 1
    assert world.drain.behind["acme", "logs"] == 2


# --- waiting for Kafka -----------------------------------------------------------------------------------------------
def test_a_request_that_asks_waits_for_all_of_its_records(world: World) -> None:
    outcome = world.accept([GOOD, {"bad": 1}, GOOD], delivery="ack")
    world.kafka.acknowledge_all()

    assert outcome.waits_for is not None
    assert outcome.waits_for.wait(60) == {0: Place("logs", PARTITION, 0), 1: Place("logs", PARTITION, 1)}
    assert list(outcome.record_indexes) == [0, 2]


@pytest.mark.parametrize(("requested", "waits"), [("", True), ("async", False), ("ack", True)])
def test_the_requests_own_choice_goes_before_the_rules(tmp_path: Path, requested: str, waits: bool) -> None:
    world = World(tmp_path, rule("logs", delivery="ack"))

    outcome = world.accept(GOOD, delivery=requested)

    assert (outcome.waits_for is not None) is waits


def test_one_event_that_asks_makes_its_request_wait(tmp_path: Path) -> None:
    world = World(tmp_path, rule("logs", levels=("FATAL",), delivery="ack"))

    calm, urgent = world.accept([GOOD, GOOD]), world.accept([GOOD, GOOD | {"level": "FATAL"}])

    assert calm.waits_for is None
    assert urgent.waits_for is not None


def test_beyond_the_budget_nobody_waits(world: World) -> None:
    waiting = [world.accept(GOOD, delivery="ack") for _ in range(3)]

    assert [outcome.waits_for is not None for outcome in waiting] == [True, False, False]
    assert all(outcome.wanted_ack for outcome in waiting)


def test_a_topic_that_is_behind_is_not_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, room=0)
    world.accept(GOOD)

    outcome = world.accept(GOOD, delivery="ack")

    assert outcome.wanted_ack
    assert outcome.waits_for is None
    assert world.ack_budget.take("acme")


def test_a_refusal_in_time_is_a_rejection_and_is_settled(world: World) -> None:
    outcome = world.accept([GOOD, GOOD], delivery="ack")
    world.kafka.fail(KafkaError.MSG_SIZE_TOO_LARGE)
    world.kafka.acknowledge_all()
    world.settlements.settle_all()

    assert outcome.waits_for is not None
    outcome.take(outcome.waits_for.wait(60))

    assert {at: error.code for at, error in outcome.rejected.items()} == {0: "undeliverable"}
    assert outcome.accepted == 1
    assert world.journal.unsettled == 0
