"""What a request leaves in the ledger, and what fire_and_forget and de-duplication do with its events."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.breaker import Breaker, State
from ingest.dataplane.errors import Unavailable
from tenants.quotas import TokenBucket
from tests.unit.dataplane.pipeline_world import GOOD, RULES_VERSION, World
from tests.unit.dataplane.world import BOLT_KEY, rule

BAD = GOOD | {"level": "LOUD"}
TIMED_OUT = KafkaError._MSG_TIMED_OUT


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def adds_up(world: World) -> bool:
    """The two sentences of the ledger, with pending as the journal's own states say."""
    total = world.totals()
    ended = total.delivered + total.dead_lettered + sum(total.dropped.values()) + sum(total.discarded.values())
    return (
        total.received == total.accepted + sum(total.rejected.values())
        and total.accepted == ended + world.journal.unsettled
    )


# --- the ledger ------------------------------------------------------------------------------------------------------
def test_accepted_dropped_and_rejected_events_of_one_request_are_counted_with_it(tmp_path: Path) -> None:
    world = World(tmp_path, rule("", levels=("DEBUG",), drop_reason="noise"))

    world.accept([GOOD, GOOD | {"level": "DEBUG"}, BAD])

    (accept,) = world.accepts()
    total = world.totals()
    assert (accept.rejections, accept.dropped, len(accept.records)) == ({"unknown_level": 1}, {"noise": 1}, 1)
    assert (total.received, total.accepted, total.rejected, total.pending) == (3, 2, {"unknown_level": 1}, 1)
    assert adds_up(world)


def test_a_request_of_which_all_is_rejected_is_counted(world: World) -> None:
    world.accept([BAD, BAD])

    assert world.accepts() == []
    assert (world.totals().received, world.totals().rejected) == (2, {"unknown_level": 2})
    assert adds_up(world)


def test_a_refused_request_is_counted_with_all_of_its_events(world: World) -> None:
    world.refusal([GOOD] * 6, BOLT_KEY)

    total = world.totals("bolt")
    assert (total.received, total.accepted, total.rejected) == (6, 0, {"batch_exceeds_burst": 6})


def test_a_request_that_finds_the_journal_full_is_rejected_and_counted(tmp_path: Path) -> None:
    world = World(tmp_path, journal_bytes=2_000)
    while not isinstance(refused := _refusal_or_none(world), Unavailable):
        pass

    assert refused.code == "journal_full"
    assert world.totals().rejected == {"journal_full": 1}
    assert adds_up(world)


def _refusal_or_none(world: World) -> Unavailable | None:
    try:
        world.accept(GOOD)
    except Unavailable as refused:
        return refused
    return None


def test_what_was_journaled_names_the_rules_that_routed_it(tmp_path: Path) -> None:
    world = World(tmp_path, rule("small", rule_id=17))

    world.accept(GOOD)

    (accept,) = world.accepts()
    assert accept.policy_version == RULES_VERSION
    assert [record[4] for record in accept.records if record] == [17]


# --- fire_and_forget -------------------------------------------------------------------------------------------------
def test_what_is_forgotten_is_produced_and_not_journaled(world: World) -> None:
    outcome = world.accept([GOOD, GOOD], delivery="fire_and_forget")
    before = world.totals().received
    world.kafka.acknowledge_all()

    assert outcome.accepted == 2
    assert (world.accepts(), before) == ([], 0)
    assert (world.totals().received, world.totals().delivered) == (2, 2)
    assert adds_up(world)


def test_a_rule_may_say_what_is_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path, rule("logs", levels=("DEBUG",), delivery="fire_and_forget"))

    world.accept([GOOD, GOOD | {"level": "DEBUG"}])

    assert len(world.journaled()) == 1
    assert len(world.kafka.queue) == 2


def test_what_is_forgotten_and_fails_is_dropped_and_counted(world: World) -> None:
    world.accept([GOOD, GOOD], delivery="fire_and_forget")
    world.kafka.fail(TIMED_OUT)
    world.kafka.acknowledge()

    assert (world.totals().delivered, world.totals().dropped) == (1, {"fire_and_forget": 1})
    assert adds_up(world)


def test_what_is_forgotten_and_finds_no_room_is_dropped(tmp_path: Path) -> None:
    world = World(tmp_path, room=1)

    world.accept([GOOD] * 3, delivery="fire_and_forget")
    filled = world.flows.utilisation_ratio
    world.kafka.acknowledge_all()

    assert (world.totals().delivered, world.totals().dropped) == (1, {"fire_and_forget": 2})
    assert filled > world.flows.utilisation_ratio == 0


def test_behind_an_open_breaker_what_is_forgotten_is_dropped(world: World) -> None:
    world.cluster.record(0, 10, world.cluster.epoch)
    state = world.cluster.state

    world.accept(GOOD, delivery="fire_and_forget")

    assert state is State.OPEN
    assert world.kafka.queue == []
    assert world.totals().dropped == {"fire_and_forget": 1}
    assert adds_up(world)


def test_what_is_forgotten_has_no_more_of_the_queue_than_its_topic_may(tmp_path: Path) -> None:
    world = World(tmp_path, in_flight_bytes=700)

    world.accept([GOOD] * 5, delivery="fire_and_forget")
    at_first = len(world.kafka.queue)
    world.accept(GOOD)
    world.kafka.fail(TIMED_OUT)
    world.accept([GOOD] * 2, delivery="fire_and_forget")

    assert (at_first, world.journal.pending) == (2, 1)
    assert len(world.kafka.queue) == 2
    assert 0 < world.flows.utilisation_ratio <= 0.25


def half_open(world: World, *breakers: Breaker) -> None:
    for breaker in breakers:
        breaker.record(0, 10, breaker.epoch)
    world.pass_time(world.limits.open_s)
    for breaker in breakers:
        breaker.tick()
        breaker.reported(breaker.trial_report(), ["a"], world.clock())


@pytest.mark.parametrize(
    ("code", "of_cluster", "of_topic"),
    [
        (None, (1, 0, 0), (1, 0, 0)),
        (TIMED_OUT, (0, 1, 0), (0, 1, 0)),
        (KafkaError.NOT_ENOUGH_REPLICAS, (1, 0, 0), (0, 1, 0)),
        (KafkaError._PURGE_QUEUE, (0, 0, 1), (0, 0, 1)),
    ],
)
def test_where_all_is_forgotten_it_is_the_trial_and_breakers_hear_how_it_ended(
    world: World, code: int | None, of_cluster: tuple[int, int, int], of_topic: tuple[int, int, int]
) -> None:
    cluster, logs = world.cluster, world.breaker("logs")
    half_open(world, cluster, logs)

    world.accept([GOOD] * 3, delivery="fire_and_forget")
    tried = len(world.kafka.queue)
    world.kafka.acknowledge() if code is None else world.kafka.fail(code)
    world.settlements.settle_all()

    reports = [breaker.trial_report() for breaker in (cluster, logs)]
    told = [(report.successes, report.failures, report.given_back) for report in reports]
    assert (tried, told) == (1, [of_cluster, of_topic])
    assert world.totals().dropped == {"fire_and_forget": 2 if code is None else 3}


def test_a_trial_that_is_forgotten_and_finds_no_room_is_given_back(tmp_path: Path) -> None:
    world = World(tmp_path, room=0)
    half_open(world, world.cluster)

    world.accept(GOOD, delivery="fire_and_forget")
    world.settlements.settle_all()

    assert world.cluster.trial_report().given_back == 1


def test_what_an_instance_that_was_replaced_never_reports_takes_no_room_from_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, in_flight_bytes=700)
    world.accept([GOOD] * 5, delivery="fire_and_forget")
    held = [(report, message) for message, _, report in world.kafka.queue]
    world.kafka.queue.clear()

    world.kafka.distrust("fatal")
    world.settlements.watch()
    after = world.flows.utilisation_ratio
    world.accept([GOOD] * 5, delivery="fire_and_forget")
    for report, message in held:
        report(KafkaError(KafkaError._PURGE_INFLIGHT), message)

    assert (len(held), after, len(world.kafka.queue)) == (2, 0.0, 2)
    assert world.flows.utilisation_ratio > 0
    world.kafka.acknowledge_all()
    assert world.flows.utilisation_ratio == 0


def test_what_is_forgotten_behind_an_open_breaker_uses_up_nobodys_send_rate(tmp_path: Path) -> None:
    world = World(tmp_path, rule("small", levels=("DEBUG",)), send_rate=TokenBucket(1_000, 1_000, 0.0))
    world.breaker("small").record(0, 10, 0)

    for _ in range(20):
        world.accept(GOOD | {"level": "DEBUG"}, delivery="fire_and_forget")
    world.accept(GOOD)

    assert [message.topic() for message, _, _ in world.kafka.queue] == ["logs"]


def test_a_request_may_mix_all_ends(tmp_path: Path) -> None:
    rules = [
        rule("", levels=("TRACE",), drop_reason="noise"),
        rule("logs", levels=("DEBUG",), delivery="fire_and_forget"),
        rule("small", levels=("FATAL",), delivery="ack"),
    ]
    world = World(tmp_path, *rules)
    levels = ["INFO", "TRACE", "DEBUG", "LOUD", "FATAL", "DEBUG"]

    outcome = world.accept([GOOD | {"level": level} for level in levels] + [GOOD | {"eventId": "a"}] * 2)
    kept = len(world.journaled())
    again = world.accept(GOOD | {"eventId": "a"}, duplicates=frozenset({"a"}))
    world.kafka.fail(TIMED_OUT, at=len(world.kafka.queue) - 1)  # one of the forgotten, which go last
    world.kafka.acknowledge_all()
    world.settlements.settle_all()

    assert (outcome.accepted, list(outcome.rejected), outcome.dropped) == (7, [3], {1: "noise"})
    assert (kept, again.dropped) == (4, {0: "duplicate"})
    assert list(outcome.record_indexes) == [0, 4, 6, 7]
    total = world.totals()
    assert (total.received, total.accepted, total.delivered) == (9, 8, 5)
    assert total.dropped == {"noise": 1, "fire_and_forget": 1, "duplicate": 1}
    assert adds_up(world)


# --- breakers --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("delivery", ["async", "ack"])
def test_behind_an_open_breaker_events_wait_in_the_journal_and_nobody_for_an_ack(world: World, delivery: str) -> None:
    world.breaker("logs").record(0, 10, 0)

    outcome = world.accept(GOOD, delivery=delivery)

    assert outcome.accepted == 1
    assert outcome.waits_for is None
    assert (world.kafka.queue, world.journal.pending) == ([], 1)


# --- duplicates ------------------------------------------------------------------------------------------------------
def test_events_that_came_before_are_accepted_and_dropped(world: World) -> None:
    sent = [GOOD | {"eventId": "a"}, GOOD | {"eventId": "b"}, GOOD]

    outcome = world.accept(sent, duplicates=frozenset({"a"}))

    assert (outcome.accepted, outcome.dropped) == (3, {0: "duplicate"})
    assert len(world.journaled()) == 2
    assert world.totals().dropped == {"duplicate": 1}


def test_of_two_with_one_id_in_a_request_the_first_is_kept(world: World) -> None:
    outcome = world.accept([GOOD | {"eventId": "a"}] * 2, duplicates=frozenset())

    assert outcome.dropped == {1: "duplicate"}


def test_an_event_is_no_duplicate_of_one_that_was_rejected(world: World) -> None:
    outcome = world.accept([BAD | {"eventId": "a"}, GOOD | {"eventId": "a"}], duplicates=frozenset())

    assert (list(outcome.rejected), outcome.dropped, len(world.journaled())) == ([0], {}, 1)


def test_where_nobody_looks_the_same_id_is_taken_again(world: World) -> None:
    outcome = world.accept([GOOD | {"eventId": "a"}] * 2)

    assert outcome.dropped == {}
    assert len(world.journaled()) == 2
