"""Shares of a process's connections: of one owner, and of those who have not said whose they are."""

from contextlib import ExitStack

import pytest

from ingest.dataplane.errors import StreamEnded, Unavailable
from ingest.sources.connections import Connections
from ingest.sources.interruptible import Interruptible

MOST = 16


def holds(connections: Connections, held: ExitStack, owner: str, *, claimed: bool = True) -> int:
    """How many more this owner may hold."""
    count = 0
    while True:
        try:
            held.enter_context(connections.holding(Interruptible(), owner, "syslog", claimed=claimed))
        except Unavailable:
            return count
        count += 1


def test_an_owner_holds_at_most_half_of_them() -> None:
    connections = Connections(MOST)
    with ExitStack() as held:
        assert [holds(connections, held, owner) for owner in ("acme", "bolt", "echo")] == [8, 8, 0]

    assert len(connections) == 0


def test_those_that_nobody_has_claimed_hold_a_quarter_and_one_address_half_of_that() -> None:
    connections = Connections(MOST)
    with ExitStack() as held:
        addresses = [holds(connections, held, f"192.0.2.{number}", claimed=False) for number in range(3)]

        assert addresses == [2, 2, 0]
        assert holds(connections, held, "acme") == 8


def test_one_that_says_whose_it_is_makes_room_for_the_next() -> None:
    connections, first = Connections(MOST), Interruptible()
    with ExitStack() as held:
        held.enter_context(connections.holding(first, "192.0.2.1", "syslog", claimed=False))
        holds(connections, held, "192.0.2.1", claimed=False)

        connections.claim(first)

        assert holds(connections, held, "192.0.2.1", claimed=False) == 1


@pytest.mark.parametrize("most", [1, 2])
def test_the_smallest_process_has_room_for_one(most: int) -> None:
    with ExitStack() as held:
        assert holds(Connections(most), held, "192.0.2.1", claimed=False) == 1


def test_the_end_of_all_is_also_that_of_those_who_arrive() -> None:
    connections = Connections(MOST)
    with connections.arriving() as before:
        connections.end_all(StreamEnded("go_elsewhere", "The process ends"))
        with connections.arriving() as after:
            ends = [one.ending and one.ending.code for one in (before, after)]

    assert ends == ["go_elsewhere", "go_elsewhere"]
