"""An instance of librdkafka that was replaced may report when what it reports of is long settled, and its file gone."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.flows import BACK_OFF_S
from tests.unit.dataplane.drain_world import SIZES, World
from tests.unit.dataplane.journal_world import totals
from tests.unit.dataplane.world import Message, Report

PURGED = KafkaError._PURGE_INFLIGHT
TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def replace_producer(world: World) -> list[tuple[Report, Message]]:
    """What the old instance held, to be reported late; the new one has taken and delivered all of it."""
    held = [(report, message) for message, _, report in world.kafka.queue]
    world.kafka.queue.clear()
    world.kafka.distrust("fatal")
    world.settlements.watch()
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
