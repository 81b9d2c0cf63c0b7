"""The sweep: what is due is sent and written down, whatever Kafka says to it and whoever dies meanwhile."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingest.dataplane.faults import Fault
from ingest.dataplane.partitioning import UNASSIGNED, Partitioning
from ingest.dataplane.policy import RulePolicy
from ingest.dead_letters.claims import letters_claim
from ingest.dead_letters.decisions import letters_replay
from ingest.dead_letters.sending import Report
from ingest.models import DeadLetter, LetterStatus, ReplayRoute
from tests.unit.dead_letters.world import START, World, event, letter, letters, statuses

pytestmark = pytest.mark.django_db

AWAY = Report(fault=Fault.CLUSTER, code="_MSG_TIMED_OUT", detail="Local: Message timed out", is_possibly_stored=True)
FORBIDDEN = Report(fault=Fault.TOPIC, code="TOPIC_AUTHORIZATION_FAILED", detail="Broker: Topic authorization failed")
TOO_LARGE = Report(fault=Fault.RECORD, code="MSG_SIZE_TOO_LARGE", detail="Broker: Message size too large")


def rule(**fields: object) -> RulePolicy:
    made = {
        "name": "to-audit",
        "tenants": (),
        "source_glob": "",
        "levels": (),
        "metadata_field": "",
        "metadata_glob": "",
        "topic": "audit",
        "partitioning": Partitioning.KEY_HASH,
        "key": ("hostname",),
        "delivery": "",
        "keep_ratio": 1.0,
        "drop_reason": "",
    }
    return RulePolicy(**(made | fields))  # type: ignore[arg-type]


def claim(world: World, most: int) -> list[DeadLetter]:
    return letters_claim(most=most, claim_s=60, max_attempts=3, now=world.now(), by="retry")


def test_a_due_letter_is_sent_where_it_was_meant_to_go_and_says_where_it_is(world: World) -> None:
    due = letter()
    sent_at_ms = round(world.now().timestamp() * 1000)

    replayed = world.sweep()

    due.refresh_from_db()
    (sent,) = world.kafka.stored
    assert (sent.topic, sent.partition, sent.key, sent.timestamp_ms) == ("logs", 3, b"checkout", sent_at_ms)
    assert world.kafka.event_ids() == [due.event_id]
    assert (due.status, due.replayed_topic, due.replayed_partition, due.replayed_offset) == ("replayed", "logs", 3, 0)
    assert (due.claimed_by, due.claimed_until, due.next_attempt_at) == ("", None, None)
    assert [(one.result, one.by) for one in due.attempts.all()] == [("delivered", "retry")]
    assert replayed == {"delivered": 1}


def test_what_is_not_due_waits(world: World) -> None:
    letter(next_attempt_at=START + timedelta(seconds=60))
    letter(status=LetterStatus.EXHAUSTED, next_attempt_at=None)

    early = world.sweep()
    world.clock.advance(61)
    late = world.sweep()

    assert (early, late) == ({}, {"delivered": 1})


def test_a_topic_that_still_refuses_puts_the_letter_off_until_its_attempts_are_used_up(world: World) -> None:
    refused = letter()
    world.kafka.refusals["logs"] = FORBIDDEN
    waits = []

    for _ in range(3):
        world.sweep(budget_s=0.1)
        refused.refresh_from_db()
        waits.append(refused.status)
        world.clock.advance(3600)

    assert waits == ["waiting", "waiting", "exhausted"]
    assert (refused.attempts_made, refused.unconfirmed, refused.attempts.count()) == (3, 0, 3)
    assert refused.detail == "Broker: Topic authorization failed"


def test_a_cluster_that_times_out_ends_the_sweep_and_its_letters_count_as_unconfirmed(world: World) -> None:
    letters(300)
    world.kafka.refusals["logs"] = AWAY

    world.sweep()

    assert world.kafka.sends == [200]
    assert DeadLetter.objects.filter(unconfirmed=1).count() == 200


def test_a_cluster_that_does_not_answer_costs_no_attempt(world: World) -> None:
    due = letter()
    world.kafka.topics = None

    world.sweep()

    due.refresh_from_db()
    assert (due.attempts_made, due.status, due.claimed_by) == (0, "waiting", "")


def test_neighbours_of_a_bad_record_are_delivered_and_it_alone_needs_an_operator(world: World) -> None:
    bad = letter()
    letters(4)
    world.kafka.refusals[bad.event_id] = TOO_LARGE

    world.sweep()

    bad.refresh_from_db()
    assert statuses() == {"exhausted": 1, "replayed": 4}
    assert (bad.fault, bad.code, bad.attempts_made) == ("record", "MSG_SIZE_TOO_LARGE", 1)


def test_a_topic_that_is_gone_is_not_produced_to(world: World) -> None:
    gone = letter(topic="retired")

    world.sweep()

    gone.refresh_from_db()
    assert world.kafka.sends == []
    assert (gone.fault, gone.code, gone.status) == ("topic", "_UNKNOWN_TOPIC", "waiting")


def test_a_partition_that_is_gone_leaves_the_choice_to_the_key(world: World) -> None:
    letter(topic="audit", partition=11)

    world.sweep()

    assert [(one.topic, one.partition) for one in world.kafka.stored] == [("audit", UNASSIGNED)]


def test_todays_rules_choose_topic_and_key_where_an_operator_says_so(world: World) -> None:
    world.write_rules(rule())
    mended = letter(status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    letters_replay(ids=[mended.pk], route=ReplayRoute.RULES, by="ada")
    DeadLetter.objects.update(next_attempt_at=START, retry_since=START)

    world.sweep()

    mended.refresh_from_db()
    assert [(one.topic, one.key) for one in world.kafka.stored] == [("audit", b"10.0.0.7")]
    assert (mended.topic, mended.replayed_topic, mended.ended_by) == ("logs", "audit", "ada")


def test_a_rule_that_drops_it_today_discards_it_with_the_rules_reason(world: World) -> None:
    world.write_rules(rule(topic="", drop_reason="noise"))
    letter(route=ReplayRoute.RULES)

    replayed = world.sweep()

    dropped = DeadLetter.objects.get()
    assert replayed == {"dropped": 1}
    assert (dropped.status, dropped.ended_by, dropped.end_reason) == ("discarded", "rules", "noise")


def test_what_is_no_event_cannot_go_by_rules(world: World) -> None:
    world.write_rules(rule())
    strange = letter(route=ReplayRoute.RULES, event={"not": "ours"})

    world.sweep()

    strange.refresh_from_db()
    assert (strange.status, strange.code) == ("exhausted", "not_an_event")


def test_a_killed_senders_letters_are_found_again_when_its_claim_ends(world: World) -> None:
    due = letter()
    claim(world, 10)

    meanwhile = world.sweep()
    world.clock.advance(61)
    afterwards = world.sweep()

    due.refresh_from_db()
    assert (meanwhile, afterwards) == ({}, {"delivered": 1})
    assert (due.unconfirmed, due.attempts_made) == (1, 2)
    assert [(one.result, one.code) for one in due.attempts.all()] == [("unknown", "interrupted"), ("delivered", "")]


def test_a_letter_that_kills_its_sender_again_and_again_is_given_to_an_operator(world: World) -> None:
    due = letter()
    for _ in range(3):
        claim(world, 10)
        world.clock.advance(61)

    world.sweep()

    due.refresh_from_db()
    assert (due.status, due.code, due.unconfirmed, due.claimed_by) == ("exhausted", "interrupted", 3, "")
    assert world.kafka.stored == []


def test_two_claimers_never_get_the_same_letter(world: World) -> None:
    letters(10)

    first = claim(world, 6)
    second = claim(world, 6)

    assert (len(first), len(second)) == (6, 4)
    assert not {one.pk for one in first} & {one.pk for one in second}


def test_a_claim_finds_its_letters_by_number_for_its_token_has_no_index(world: World) -> None:
    letters(5)

    with CaptureQueriesContext(connection) as captured:
        claim(world, 5)

    conditions = [query["sql"].partition(" WHERE ")[2] for query in captured.captured_queries]
    by_token = [condition for condition in conditions if '"claimed_by" =' in condition]
    assert by_token
    assert all('"id" IN' in condition for condition in by_token)


def test_a_claim_holds_no_more_than_fits_into_memory(world: World) -> None:
    letters(5, size_bytes=3 << 20)

    claimed = claim(world, 100)

    assert len(claimed) == 1


def test_what_an_operator_asks_for_goes_before_thousands_that_have_waited_for_longer(tmp_path: Path) -> None:
    world = World(tmp_path, max_per_s=200)
    letters(1_000, next_attempt_at=START - timedelta(hours=1))
    mine = letter(tenant="bolt", requested_by="ada", retries=0)

    world.sweep(budget_s=0.1)

    mine.refresh_from_db()
    assert mine.status == "replayed"


@pytest.mark.parametrize("asked_for_by", ["", "ada"])
def test_a_tenants_thousands_leave_another_its_share_of_each_portion(tmp_path: Path, asked_for_by: str) -> None:
    world = World(tmp_path, max_per_s=200)
    letters(1_000, next_attempt_at=START - timedelta(hours=1), requested_by=asked_for_by)
    letters(30, tenant="bolt", requested_by=asked_for_by)

    world.sweep(budget_s=0.5)

    assert DeadLetter.objects.filter(tenant="bolt", status=LetterStatus.REPLAYED).count() == 30
    assert DeadLetter.objects.filter(tenant="acme", status=LetterStatus.REPLAYED).count() >= 60


def test_of_more_tenants_than_share_a_portion_each_has_its_turn(tmp_path: Path) -> None:
    world = World(tmp_path, max_per_s=200)
    for number in range(50):
        letters(10, tenant=f"t{number}", next_attempt_at=START - timedelta(minutes=number))

    world.sweep(budget_s=1.0)

    served = DeadLetter.objects.filter(status=LetterStatus.REPLAYED).values("tenant").distinct().count()
    assert served == 50


def test_a_node_without_a_snapshot_puts_off_what_goes_by_rules_and_sends_the_rest(world: World) -> None:
    by_rules = letter(route=ReplayRoute.RULES, requested_by="ada")
    letters(500)

    world.sweep()
    by_rules.refresh_from_db()
    waited = (by_rules.status, by_rules.code, by_rules.attempts_made, by_rules.retries)
    world.write_rules()
    world.clock.advance(31)
    world.sweep()

    assert waited == ("waiting", "no_snapshot", 0, 0)
    assert statuses() == {"replayed": 501}


def test_a_partition_that_cannot_be_written_to_does_not_end_the_sweep(world: World) -> None:
    letters(200, topic="audit", next_attempt_at=START - timedelta(hours=1))
    letters(200, tenant="bolt")
    world.kafka.refusals["audit"] = Report(fault=Fault.CLUSTER, code="NOT_ENOUGH_REPLICAS")

    world.sweep()

    assert DeadLetter.objects.filter(tenant="bolt", status=LetterStatus.REPLAYED).count() == 200


def test_the_rate_is_kept_to(tmp_path: Path) -> None:
    world = World(tmp_path, max_per_s=50)
    letters(400)

    for _ in range(4):
        world.sweep(budget_s=1.0)

    assert 200 <= len(world.kafka.stored) <= 220


def test_large_records_count_for_several(tmp_path: Path) -> None:
    world = World(tmp_path, max_per_s=50)
    for number in range(60):
        letter(event=event(f"large-{number}", message="x" * 70_000), size_bytes=70_000, event_id=f"large-{number}")

    world.sweep(budget_s=4.0)

    assert 35 <= len(world.kafka.stored) <= 60


def test_the_cap_of_bytes_is_kept_to_over_many_sweeps(tmp_path: Path) -> None:
    world = World(tmp_path, max_bytes_per_s=100_000)
    letters(300, size_bytes=20_000)

    for _ in range(10):
        world.sweep(budget_s=2.0)
        world.clock.advance(2.0)

    sent_bytes = 20_000 * len(world.kafka.stored)
    assert 2_000_000 <= sent_bytes <= 40 * 100_000 + 4_200_000  # ahead by a portion at most


def test_a_redis_that_goes_away_and_comes_back_does_not_double_the_rate(tmp_path: Path) -> None:
    world = World(tmp_path, max_per_s=50)
    letters(400)

    for away in (False, True, False, True):
        world.buckets.away = away
        world.sweep(budget_s=1.0)

    assert 150 <= len(world.kafka.stored) <= 240
