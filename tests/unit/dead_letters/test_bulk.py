"""Bulk replays: planned, moved on by the sweep, and stopped at an operator's word."""

import json
from datetime import timedelta

import pytest

from ingest.dataplane.faults import Fault
from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.claims import letters_claim
from ingest.dead_letters.recording import Delivered, Failed, Result, results_record
from ingest.dead_letters.routes import Destination, Routes
from ingest.dead_letters.selection import LetterCriteria
from ingest.dead_letters.sending import Report
from ingest.models import BulkReplay, BulkStatus, DeadLetter, LetterStatus, ReplayRoute
from tenants import services
from tenants.models import Plan
from tests.unit.dead_letters.world import ADA, World, letter, letters, statuses

pytestmark = pytest.mark.django_db


def exhausted(count: int, **fields: object) -> None:
    letters(count, status=LetterStatus.EXHAUSTED, next_attempt_at=None, **fields)


def planned(**fields: object) -> BulkReplay:
    asked = {"criteria": LetterCriteria(tenant="acme"), "route": ReplayRoute.PINNED, **ADA}
    return bulks.bulk_plan(**(asked | fields))  # type: ignore[arg-type]


def test_a_plan_says_how_many_where_to_and_how_long_and_sends_nothing(world: World) -> None:
    exhausted(3)
    exhausted(2, topic="audit")
    exhausted(4, tenant="bolt")

    bulk = planned()
    plan = bulks.bulk_forecast(bulk=bulk, routes=Routes(world.snapshot_path), topics=world.kafka.topics)
    world.sweep()

    assert (plan.events, plan.destinations, plan.sampled) == (5, {"audit": 2, "logs": 3}, 5)
    assert plan.estimated_s == pytest.approx(5 / 200)
    assert not plan.charges_quota
    assert (world.kafka.stored, bulk.status, bulk.planned_events) == ([], "planned", 5)


def test_a_plan_by_todays_rules_says_what_they_would_do(world: World) -> None:
    world.write_rules()
    exhausted(2, topic="audit")

    plan = bulks.bulk_forecast(
        bulk=planned(route=ReplayRoute.RULES), routes=Routes(world.snapshot_path), topics=world.kafka.topics
    )

    assert plan.destinations == {"logs": 2}


def test_a_plan_without_letters_or_without_a_reason_is_refused(world: World) -> None:
    exhausted(1)

    with pytest.raises(bulks.BulkRefused, match="No open dead letter"):
        planned(criteria=LetterCriteria(tenant="nobody"))
    with pytest.raises(bulks.BulkRefused, match="Say why"):
        planned(reason=" ")


def test_a_started_bulk_replay_is_done_by_the_sweep_and_takes_no_letter_that_died_later(world: World) -> None:
    exhausted(1_200)
    bulk = planned()
    exhausted(1)
    bulks.bulk_start(bulk=bulk, **ADA)

    for _ in range(4):
        world.sweep()

    bulk.refresh_from_db()
    assert statuses() == {"exhausted": 1, "replayed": 1_200}
    assert (bulk.status, bulk.enlisted_events) == (BulkStatus.DONE, 1_200)
    assert bulks.bulk_progress(bulk=bulk).replayed == 1_200
    assert DeadLetter.objects.filter(ended_by=f"ada, bulk replay {bulk.pk}").count() == 1_200


def test_a_paused_one_stops_and_a_resumed_one_goes_on(world: World) -> None:
    exhausted(700)
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)
    world.sweep(budget_s=0.3)
    bulks.bulk_pause(bulk=bulk, **ADA)
    before = len(world.kafka.stored)

    world.sweep()
    paused = len(world.kafka.stored)
    bulks.bulk_resume(bulk=bulk, **ADA)
    world.sweep()
    world.sweep()

    assert 0 < before < 700
    assert paused == before
    assert len(world.kafka.stored) == 700


def test_a_cancelled_one_gives_back_what_it_has_not_sent(world: World) -> None:
    exhausted(700)
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)
    world.sweep(budget_s=0.3)
    sent = len(world.kafka.stored)

    bulks.bulk_cancel(bulk=bulk, **ADA)
    world.sweep()

    assert 0 < sent < 700
    assert statuses() == {"exhausted": 700 - sent, "replayed": sent}
    assert bulks.bulk_progress(bulk=bulk).to_come == 0
    with pytest.raises(bulks.BulkRefused, match="cancelled"):
        bulks.bulk_resume(bulk=bulk, **ADA)


def test_what_was_on_its_way_when_one_was_cancelled_counts_as_replayed_by_it_if_it_arrives(world: World) -> None:
    exhausted(3)
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)
    bulks.bulks_enlist(now=world.now())
    claimed = letters_claim(most=2, claim_s=60, max_attempts=9, now=world.now(), by="retry")
    arrived, refused = claimed

    bulks.bulk_cancel(bulk=bulk, **ADA)
    delivered = Delivered(Destination(topic="logs", partition=3, key=b"checkout"), Report(partition=3, offset=7))
    failed = Failed(Report(fault=Fault.TOPIC, code="TOPIC_AUTHORIZATION_FAILED"))
    results: dict[int, Result] = {arrived.pk: delivered, refused.pk: failed}
    results_record(letters=claimed, results=results, policy=world.policy, now=world.now())

    progress = bulks.bulk_progress(bulk=bulk)
    assert statuses() == {"exhausted": 2, "replayed": 1}
    assert (progress.replayed, progress.waiting, progress.exhausted) == (1, 0, 0)


def test_one_that_took_over_from_a_sender_counts_what_that_one_delivers_after_all(world: World) -> None:
    letters(1)
    claimed = letters_claim(most=1, claim_s=60, max_attempts=9, now=world.now(), by="retry")
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)
    too_late = world.now() + timedelta(seconds=61)
    bulks.bulks_enlist(now=too_late)

    delivered = Delivered(Destination(topic="logs", partition=3, key=b"checkout"), Report(partition=3, offset=7))
    results_record(letters=claimed, results={claimed[0].pk: delivered}, policy=world.policy, now=too_late)
    bulks.bulks_enlist(now=too_late)

    bulk.refresh_from_db()
    progress = bulks.bulk_progress(bulk=bulk)
    assert (bulk.status, progress.enlisted, progress.replayed) == (BulkStatus.DONE, 1, 1)


def test_a_cancelled_one_leaves_to_its_own_retry_what_waited_for_that(world: World) -> None:
    later = world.now() + timedelta(minutes=20)
    exhausted(1)
    own = letter(next_attempt_at=later, route=ReplayRoute.RULES, requested_by="bob", retries=2)
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)
    bulks.bulks_enlist(now=world.now())

    bulks.bulk_cancel(bulk=bulk, **ADA)

    own.refresh_from_db()
    assert statuses() == {"waiting": 1, "exhausted": 1}
    assert (own.status, own.next_attempt_at, own.own_attempt_at, own.bulk) == ("waiting", later, None, None)
    assert (own.replay_route, own.asked_by, own.retries) == ("rules", "bob", 2)


def test_what_a_sender_has_in_its_hands_is_enlisted_when_it_is_back(world: World) -> None:
    world.write_rules()
    flying = letter(topic="audit")
    letters(3)
    (claimed,) = letters_claim(most=1, claim_s=60, max_attempts=3, now=world.now(), by="retry")
    bulk = planned(route=ReplayRoute.RULES)
    bulks.bulk_start(bulk=bulk, **ADA)
    bulks.bulks_enlist(now=world.now())
    flying.refresh_from_db()
    during = flying.bulk, bulks.bulk_progress(bulk=bulk).to_come

    failed = Failed(Report(fault=Fault.TOPIC, code="TOPIC_AUTHORIZATION_FAILED"))
    results_record(letters=[claimed], results={flying.pk: failed}, policy=world.policy, now=world.now())
    for _ in range(3):
        world.sweep()

    flying.refresh_from_db()
    bulk.refresh_from_db()
    assert claimed.pk == flying.pk
    assert during == (None, 1)
    assert (flying.status, flying.replayed_topic, flying.ended_by) == (
        "replayed",
        "logs",
        f"ada, bulk replay {bulk.pk}",
    )
    assert (bulk.status, bulk.enlisted_events) == (BulkStatus.DONE, 4)


def test_one_waits_for_what_a_sender_still_has_before_it_is_done(world: World) -> None:
    letter()
    letters_claim(most=1, claim_s=60, max_attempts=3, now=world.now(), by="retry")
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)

    bulks.bulks_enlist(now=world.now())

    bulk.refresh_from_db()
    assert bulk.status == BulkStatus.RUNNING


def test_who_started_and_stopped_it_stays_with_it(world: World) -> None:
    exhausted(1)
    bulk = planned()
    steps = (bulks.bulk_start, bulks.bulk_pause, bulks.bulk_resume, bulks.bulk_cancel)

    said = []
    for step, by in zip(steps, ("ann", "ben", "cid", "dot"), strict=True):
        step(bulk=bulk, by=by, reason="mended")
        said.append(bulk.last_changed_by)

    assert said == ["ann", "ben", "cid", "dot"]


def test_what_fails_for_good_is_counted_and_does_not_hold_up_the_end(world: World) -> None:
    exhausted(3)
    bad = letter(status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    world.kafka.refusals[bad.event_id] = Report(fault=Fault.RECORD, code="INVALID_RECORD")
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)

    for _ in range(2):
        world.sweep()

    bulk.refresh_from_db()
    progress = bulks.bulk_progress(bulk=bulk)
    assert (bulk.status, progress.replayed, progress.exhausted, progress.waiting) == (BulkStatus.DONE, 3, 1, 0)


def test_a_letter_of_an_operator_waits_behind_a_few_hundred_of_a_bulk_replay_at_most(world: World) -> None:
    exhausted(1_000)
    bulks.bulk_start(bulk=planned(), **ADA)

    bulks.bulks_enlist(now=world.now())

    assert DeadLetter.objects.filter(status=LetterStatus.WAITING).count() == bulks.ENLISTED_AT_ONCE


def test_one_that_charges_takes_from_the_tenants_quota_and_waits_when_that_is_used_up(world: World) -> None:
    Plan.objects.create(name="tiny", events_per_s=1, burst_events=10)
    services.tenant_create(name="bolt", plan="tiny", by="tests")
    exhausted(30, tenant="bolt")
    bulk = planned(criteria=LetterCriteria(tenant="bolt"), charges_quota=True)
    bulks.bulk_start(bulk=bulk, **ADA)

    world.sweep(budget_s=0.3)
    first = len(world.kafka.stored)
    for _ in range(20):
        world.clock.advance(6)
        world.sweep(budget_s=0.3)

    assert first == 10
    assert statuses() == {"replayed": 30}
    assert {one.attempts_made for one in DeadLetter.objects.all()} == {1}


def test_one_that_does_not_charge_leaves_the_quota_alone(world: World) -> None:
    Plan.objects.create(name="tiny", events_per_s=1, burst_events=1)
    services.tenant_create(name="bolt", plan="tiny", by="tests")
    exhausted(30, tenant="bolt")
    bulks.bulk_start(bulk=planned(criteria=LetterCriteria(tenant="bolt")), **ADA)

    world.sweep()

    assert statuses() == {"replayed": 30}
    assert {order.limit.tenant for order in world.buckets.orders} == {"_replay"}


def test_what_cannot_be_charged_because_redis_is_away_is_not_sent(world: World) -> None:
    Plan.objects.create(name="tiny", events_per_s=1)
    services.tenant_create(name="bolt", plan="tiny", by="tests")
    exhausted(1, tenant="bolt")
    bulks.bulk_start(bulk=planned(criteria=LetterCriteria(tenant="bolt"), charges_quota=True), **ADA)
    world.buckets.away = True

    replayed = world.sweep(budget_s=0.3)

    assert replayed == {"putoff": 1}
    assert world.kafka.stored == []


def test_the_criteria_of_a_bulk_replay_can_be_stored(world: World) -> None:
    exhausted(1)

    bulk = planned(criteria=LetterCriteria(tenant="acme", dead_from=world.now()))

    assert json.loads(json.dumps(bulk.criteria)) == {"tenant": "acme", "dead_from": "2026-11-23T12:00:00Z"}
