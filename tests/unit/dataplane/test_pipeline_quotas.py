"""Unit: what a request is charged, and how it is refused when that is too much."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.dataplane.errors import BadRequest, Throttled, TooLarge, Unavailable
from tenants.quotas import Limit, Scope, What
from tests.unit.dataplane.pipeline_world import GOOD, World, rejected_total
from tests.unit.dataplane.world import (
    ACME_KEY,
    BOLT_KEY,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.journal.close()


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
