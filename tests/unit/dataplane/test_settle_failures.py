"""A journal or a call that settling runs into trouble with keeps neither the others nor what breakers are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.breaker import State
from ingest.dataplane.flows import BACK_OFF_S
from ingest.dataplane.ledger import Account
from tests.unit.dataplane.drain_world import SIZES, TIMED_OUT, World
from tests.unit.dataplane.journal_world import totals


def fail(*_: Any) -> int:
    raise OSError(5, "Input/output error")


@pytest.fixture
def heir(tmp_path: Path) -> World:
    """A worker that has adopted a journal with one event, and handed that over."""
    dead = World(tmp_path)
    dead.send("logs")
    dead.close()
    made = World(tmp_path)
    made.drain.adopt(made.root, **SIZES)
    made.drain.visit_all()
    return made


def adopted_settle(world: World, settle: Callable[..., int]) -> None:
    world.drain.adopted[0].settle = settle  # type: ignore[method-assign]


def test_a_journal_that_cannot_be_settled_keeps_no_other_and_is_tried_again(heir: World) -> None:
    (adopted,) = heir.drain.adopted
    mends = adopted.settle
    heir.send("logs")
    heir.journal.count(Account("acme", 1, received=1))

    adopted_settle(heir, fail)
    heir.kafka.acknowledge_all()
    heir.settle()
    meanwhile = (adopted.unsettled, heir.journal.unsettled, totals(heir.journal).received)
    adopted_settle(heir, mends)
    heir.settle()

    assert meanwhile == (1, 0, 2)
    assert adopted.unsettled == 0
    assert totals(adopted).delivered == 1
    heir.close()


def test_a_journal_that_cannot_write_its_counts_keeps_no_other(heir: World) -> None:
    heir.drain.adopted[0].write_counts = fail  # type: ignore[assignment,method-assign]
    heir.journal.count(Account("acme", 1, received=1))

    heir.settle()

    assert totals(heir.journal).received == 1


def test_while_a_journal_cannot_be_settled_breakers_hear_of_calls(heir: World) -> None:
    adopted_settle(heir, fail)
    heir.kafka.acknowledge_all()
    heir.settle()
    heir.pass_time(60)
    heir.drain.visit_all()

    for _ in range(4):  # and one has succeeded: of five known calls most have failed
        heir.send("logs")
        heir.kafka.fail(TIMED_OUT)
        heir.settle()
        heir.settle()  # what was called back
        heir.pass_time(BACK_OFF_S)
        heir.drain.visit_all()

    assert heir.cluster.state is State.OPEN


def test_a_call_that_cannot_be_dealt_with_keeps_no_other(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.send("audit")
    world.send("logs")
    world.suspects.add = fail  # type: ignore[assignment,method-assign]

    world.kafka.fail(KafkaError.MSG_SIZE_TOO_LARGE)
    world.kafka.acknowledge_all()
    world.settle()

    assert totals(world.journal).delivered == 1
