"""A mismatch is one that stays: what moves with the traffic is on its way."""

from itertools import cycle

from ingest.ledger.books import Mismatch
from ingest.ledger.checking import settled_mismatches


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
