"""An instance of librdkafka that was replaced may report when what it reports of is long settled, and its file gone."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.flow import Parked
from ingest.dataplane.flows import BACK_OFF_S
from tests.unit.dataplane.drain_world import SIZES, World
from tests.unit.dataplane.journal_world import totals
from tests.unit.dataplane.world import NOW_WALL_MS, Message, Report

PURGED = KafkaError._PURGE_INFLIGHT
TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def forsake_producer(world: World) -> list[tuple[Report, Message]]:
    """What the old instance held, to be reported late; all of it waits again."""
    held = [(report, message) for message, _, report in world.kafka.queue]
    world.kafka.queue.clear()
    world.kafka.distrust("fatal")
    world.settlements.watch()
    return held


def replace_producer(world: World) -> list[tuple[Report, Message]]:
    """The same, and the new one has taken and delivered all of it."""
    held = forsake_producer(world)
    world.pass_time(BACK_OFF_S)
    world.deliver_everything()
    return held


def fill_segments(world: World) -> None:
    """All that is settled goes with its file."""
    for _ in range(3):
        _, segment, sequence = world.journal.append("acme", 1, [("logs", 0, b"k", bytes(40_000), 0)])
        world.journal.settle([(segment, sequence, 1)])


@pytest.mark.parametrize("code", [None, PURGED, TOO_LARGE])
def test_a_report_of_what_is_gone_changes_nothing_and_keeps_no_other(world: World, code: int | None) -> None:
    world.send("logs", "logs")
    origin = world.journal.segment_of(0)
    late = replace_producer(world)
    fill_segments(world)
    world.send("audit")

    for report, message in late:
        report(None if code is None else KafkaError(code), message)
    world.kafka.acknowledge_all()
    world.settle()

    assert origin is not None
    assert not origin.path.exists()
    assert world.journal.unsettled == 0
    assert (totals(world.journal).delivered, totals(world.journal).pending) == (6, 0)
    assert len(world.suspects) == 0


@pytest.mark.parametrize("code", [None, PURGED])
def test_a_report_for_an_adopted_journal_that_is_gone_keeps_no_other(
    world: World, tmp_path: Path, code: int | None
) -> None:
    world.send("logs")
    world.close()
    heir = World(tmp_path)
    heir.drain.adopt(heir.root, **SIZES)
    heir.drain.visit_all()
    late = replace_producer(heir)
    heir.confirm_all()
    heir.pass_time(2)
    heir.drain.visit_all()
    heir.send("logs")

    for report, message in late:
        report(None if code is None else KafkaError(code), message)
    heir.kafka.acknowledge_all()
    heir.settle()

    assert heir.drain.adopted == []
    assert not world.journal.directory.exists()
    assert heir.journal.unsettled == 0
    heir.close()


@pytest.mark.parametrize("where", ["before", "behind", "in an older file"])
def test_what_a_late_report_has_settled_is_not_waited_for_though_its_file_was_rewritten(
    world: World, where: str
) -> None:
    """What keeps the file is another's event, which waits for an operator; or a SETTLE that an older file needs."""
    world.flows.park(world.flows.of("bolt", "logs"), Parked("PARKED", "ann", 0))
    if where != "behind":
        world.send("logs", "audit", tenant="bolt")
    if where == "in an older file":
        world.journal.append("crux", NOW_WALL_MS, [("audit", 0, b"k", bytes(65_300), 0)])
    for _ in range(9):
        world.send("logs")
    if where == "behind":
        world.send("logs", "audit", tenant="bolt")
    held = forsake_producer(world)
    for report, message in held:
        report(None, message)
    world.settle()
    fill_segments(world)

    rewritten = world.journal.compact()
    world.send("logs")
    world.pass_time(BACK_OFF_S)
    goes_on = [world.drain.visit_all() for _ in range(2)]

    assert rewritten >= 1
    assert goes_on == [False, False]
    assert [message.value() for message, _, _ in world.kafka.queue] == [str(world.sent - 1).encode()]
