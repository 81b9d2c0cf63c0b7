"""What has waited for longer than it may is given up: all of it, nobody's before the others', and no faster than it is
kept."""

from collections import Counter
from pathlib import Path

import pytest

from ingest.dataplane.drain import LOOK_AT_AGE_EVERY_S, MOST_SUSPECTS, TURN_STEPS
from ingest.dataplane.flow import Parked
from ingest.dataplane.segments import Record
from ingest.dataplane.suspects import AGAIN_S
from tests.unit.dataplane.drain_world import World
from tests.unit.dataplane.engine_world import MAX_AGE_S
from tests.unit.dataplane.world import NOW_WALL_MS

EVENTS_A_REQUEST = 100
PARKED = Parked("PARKED", "ann", 0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.journal.segment_bytes, world.journal.max_bytes = 64 << 20, 256 << 20
    return world


def park(world: World, tenant: str, requests: int, events: int = EVENTS_A_REQUEST) -> None:
    """So much of a tenant waits for an operator."""
    flow = world.flows.of(tenant, "logs")
    world.flows.park(flow, PARKED)
    records: list[Record] = [("logs", 0, b"k", tenant.encode(), 0)] * events
    for _ in range(requests):
        world.flows.wait(flow, world.journal.append(tenant, NOW_WALL_MS, records), range(events))


def visit_while_it_goes_on(world: World) -> None:
    while world.drain.visit_all():
        pass


def letters_of(world: World) -> Counter[str]:
    return Counter(letter.tenant for letter in world.letters)


def test_all_of_a_parked_backlog_is_given_up_without_a_pause(world: World) -> None:
    park(world, "acme", 3 * TURN_STEPS, events=1)
    world.drain.visit_all()

    world.pass_time(MAX_AGE_S + 1)
    visit_while_it_goes_on(world)

    assert len(world.suspects) + len(world.letters) == 3 * TURN_STEPS
    assert world.drain.pending == 0


def test_behind_what_is_past_its_age_the_rest_waits_on(world: World) -> None:
    park(world, "acme", 1, events=1)
    world.pass_time(MAX_AGE_S + 1)
    flow, records = world.flows.of("acme", "logs"), [("logs", 0, b"k", b"newer", 0)]
    origin = world.journal.append("acme", int(world.wall_s * 1000), records)
    world.flows.wait(flow, origin, [0])

    visit_while_it_goes_on(world)
    world.drain.visit_all()
    world.pass_time(LOOK_AT_AGE_EVERY_S)
    world.drain.visit_all()

    assert letters_of(world) == {"acme": 1}
    assert world.drain.pending == 1


def test_what_is_given_up_and_not_kept_yet_is_bounded(world: World) -> None:
    world.takes_letters = False
    park(world, "acme", 3 * MOST_SUSPECTS // EVENTS_A_REQUEST)
    world.pass_time(MAX_AGE_S + 1)

    visit_while_it_goes_on(world)
    while_nobody_keeps_them = len(world.suspects)
    world.takes_letters = True
    while world.journal.unsettled > len(world.letters):
        world.pass_time(AGAIN_S)
        world.drain.visit_all()

    assert while_nobody_keeps_them <= MOST_SUSPECTS + EVENTS_A_REQUEST
    assert letters_of(world) == {"acme": 3 * MOST_SUSPECTS}
    sequences = [letter.sequence for letter in world.letters]
    assert sequences == sorted(sequences)


def test_one_tenants_old_backlog_does_not_keep_anothers_from_being_given_up(world: World) -> None:
    world.takes_letters = False
    park(world, "acme", 3 * MOST_SUSPECTS // EVENTS_A_REQUEST)
    world.pass_time(MAX_AGE_S + 1)
    visit_while_it_goes_on(world)
    park(world, "bolt", 1, events=1)
    world.takes_letters = True

    for _ in range(2 * EVENTS_A_REQUEST):
        world.pass_time(AGAIN_S)
        world.drain.visit_all()

    assert letters_of(world)["bolt"] == 1
    assert world.drain.pending > 0
