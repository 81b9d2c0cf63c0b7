"""A mismatch is one that stays: what moves with the traffic is on its way."""

from itertools import cycle

from ingest.ledger.books import Mismatch
from ingest.ledger.checking import (
    CHECKS_IN_A_ROW,
    CHECKS_ON_ONE_SIDE,
    History,
    continued,
    settled_mismatches,
    what_stays,
)


def looks(*amounts: dict[str, int]) -> "cycle[list[Mismatch]]":
    return cycle([[Mismatch(name, events, name) for name, events in found.items()] for found in amounts])


def check(found: "cycle[list[Mismatch]]") -> list[str]:
    wrong = settled_mismatches(lambda: next(found), 0, pause=lambda _: None)
    return [one.subject for one in wrong]


def test_what_stays_the_same_is_wrong() -> None:
    assert check(looks({"acme": 3})) == ["acme"]


def test_what_is_another_number_each_time_is_on_its_way() -> None:
    assert check(looks({"acme": 3}, {"acme": 2}, {"acme": 3})) == []


def test_what_is_another_thing_each_time_ends_the_search_too() -> None:
    assert check(looks({"acme": 3}, {"bolt": 3}, {"acme": 3})) == []


def test_what_is_gone_at_the_last_look_adds_up() -> None:
    assert check(looks({"acme": 3}, {"acme": 3}, {})) == []


def test_of_two_only_the_one_that_stays_is_told() -> None:
    assert check(looks({"acme": 3, "bolt": 1}, {"acme": 3, "bolt": 2}, {"acme": 3, "bolt": 3})) == ["acme"]


# --- check after check -----------------------------------------------------------------------------------------------
def told(*amounts: int, is_of_one_row: bool = False) -> list[int]:
    """How many events are said to be wrong after checks that found these amounts; 0 is a check that found nothing."""
    history: History = {}
    found: list[Mismatch] = []
    for events in amounts:
        found = [Mismatch("acme", events, "acme", is_of_one_row=is_of_one_row)] if events else []
        history = continued(history, found)
    return [one.events for one in what_stays(history, found)]


def test_an_account_that_contradicts_itself_is_wrong_whatever_the_amount() -> None:
    grows = range(1, CHECKS_IN_A_ROW + 1)

    assert told(*grows, is_of_one_row=True) == [3]
    assert told(*grows[:-1], is_of_one_row=True) == []
    assert told(1, 2, 0, 3, is_of_one_row=True) == []


def test_two_witnesses_that_differ_more_and_more_are_told_by_the_amount_that_is_sure() -> None:
    grows = range(5, 5 + CHECKS_ON_ONE_SIDE)

    assert told(*grows) == [5]
    assert told(*(-events for events in grows)) == [-5]
    assert told(*grows[1:]) == []


def test_what_is_now_on_one_side_and_now_on_the_other_is_on_its_way() -> None:
    assert told(*[3, -2, 4, 1] * CHECKS_ON_ONE_SIDE) == []
    assert told(*range(1, CHECKS_ON_ONE_SIDE), 0, *range(1, CHECKS_ON_ONE_SIDE)) == []
