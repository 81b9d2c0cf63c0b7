"""What a worker tells of its journals: bytes and events by tenant, who is behind since when, files set aside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.dataplane.flow import Parked
from ingest.journal_reports import TOLD_FLOWS, JournalsReport, journals_report
from tests.unit.dataplane.drain_world import World
from tests.unit.dataplane.world import NOW_WALL_MS

MINUTE = NOW_WALL_MS // 60_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, topics=("logs",))
    yield made
    made.close()


def told(world: World) -> JournalsReport:
    return journals_report(
        world.journal, world.drain.adopted, world.flows, world.lane_lock, node="node-1", wall_ms=NOW_WALL_MS
    )


def test_a_tenants_bytes_and_events_are_those_that_kafka_has_not_acknowledged(world: World) -> None:
    world.send("logs", "logs")
    world.send("logs", tenant="bolt")

    acme, bolt = told(world).tenants

    assert (acme.tenant, acme.events, acme.oldest_minute) == ("acme", 2, MINUTE)
    assert (bolt.tenant, bolt.events) == ("bolt", 1)
    assert acme.live_bytes == world.journal.shares.taken_bytes["acme"] > bolt.live_bytes > 0


def test_what_is_delivered_is_told_no_more(world: World) -> None:
    world.send("logs")
    world.deliver_everything()

    report = told(world)

    assert (report.tenants, report.flows, report.journals[0].unsettled) == ((), (), 0)
    assert report.journals[0].oldest_minute is None


def test_who_is_behind_is_told_with_how_much_and_since_when(world: World) -> None:
    world.send("audit", "audit")
    world.sent += 120_000
    world.send("audit")
    world.send("audit", tenant="bolt")

    report = told(world)

    assert report.flows_behind == 2
    assert [(flow.tenant, flow.topic, flow.events, flow.oldest_minute) for flow in report.flows] == [
        ("acme", "audit", 3, MINUTE),
        ("bolt", "audit", 1, MINUTE + 2),
    ]
    assert (report.journals[0].pending, report.journals[0].oldest_minute) == (4, MINUTE)


def test_the_oldest_moves_on_when_what_was_older_has_been_delivered(world: World) -> None:
    world.send("logs")
    world.sent += 120_000
    world.send("audit")
    world.kafka.acknowledge_all()

    world.settle()

    assert told(world).journals[0].oldest_minute == MINUTE + 2


def test_a_parked_flow_says_for_what_it_waits(world: World) -> None:
    world.send("audit")
    world.flows.park(world.flows.of("acme", "audit"), Parked("TOPIC_AUTHORIZATION_FAILED", "denied", NOW_WALL_MS))

    (flow,) = told(world).flows

    assert flow.parked == "TOPIC_AUTHORIZATION_FAILED"


def test_of_many_that_are_behind_the_largest_are_told(world: World) -> None:
    for number in range(TOLD_FLOWS + 5):
        world.send("audit", tenant=f"tenant-{number}")
    world.send("audit", "audit", tenant="tenant-7")

    report = told(world)

    assert (report.flows[0].tenant, report.flows[0].events) == ("tenant-7", 3)
    assert (len(report.flows), report.flows_behind) == (TOLD_FLOWS, TOLD_FLOWS + 5)


def test_what_a_dead_worker_left_is_told_beside_the_own_journal(tmp_path: Path) -> None:
    dead = World(tmp_path, topics=("logs",))
    dead.send("audit")
    dead.close()
    world = World(tmp_path, topics=("logs",))
    world.drain.adopt(tmp_path, segment_bytes=1 << 21, max_bytes=1 << 23)

    own, adopted = told(world).journals
    world.close()

    assert (own.is_adopted, own.unsettled) == (False, 0)
    assert (adopted.name, adopted.is_adopted, adopted.pending) == (dead.journal.name, True, 1)
    assert adopted.oldest_minute == MINUTE


def test_files_that_were_set_aside_are_told_with_size_and_time(world: World, tmp_path: Path) -> None:
    aside = tmp_path / world.journal.name / "00000000000000000000-00000000.damaged"
    aside.write_bytes(b"x" * 10)

    report = told(world)

    assert [(file.path, file.size_bytes) for file in report.files] == [(str(aside), 10)]
    assert report.files[0].at_wall_ms == int(aside.stat().st_mtime * 1000)
    assert (report.files_aside, report.directory) == (1, str(tmp_path))
    aside.unlink()
