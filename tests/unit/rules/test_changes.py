"""What differs between two lists of rules, told by the fewest changes."""

import pytest

from ingest.rules.changes import changes_between
from ingest.rules.facts import Facts
from tests.unit.rules.world import facts

A, B, C, D = (facts(pk) for pk in (1, 2, 3, 4))


Told = list[tuple[str, str, int | None, int | None]]


def told(before: list[Facts], after: list[Facts]) -> Told:
    return [(one.kind, one.rule["name"], one.was_at, one.is_at) for one in changes_between(before, after)]


def test_the_same_rules_differ_in_nothing() -> None:
    assert told([A, B], [A, B]) == []


def test_added_and_removed_rules_are_told_with_their_places() -> None:
    assert told([A, B], [C, A]) == [("added", "rule-3", None, 1), ("removed", "rule-2", 2, None)]


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        ([D, A, B, C], [("moved", "rule-4", 4, 1)]),
        ([B, C, D, A], [("moved", "rule-1", 1, 4)]),
        ([A, C, B, D], [("moved", "rule-3", 3, 2)]),
    ],
)
def test_only_what_was_moved_is_told_and_not_who_makes_room(after: list[Facts], moved: Told) -> None:
    assert told([A, B, C, D], after) == moved


def test_a_rule_that_only_stands_lower_because_one_is_new_has_not_moved() -> None:
    changed = B | {"topic": "audit"}

    (added, edited) = changes_between([A, B], [C, A, changed])

    assert (added.kind, edited.kind, edited.has_moved) == ("added", "changed", False)


def test_fields_are_told_in_words_before_and_after() -> None:
    after = A | {"tenants": ["acme", "bolt"], "enabled": False, "levels": ["ERROR"], "keep_ratio": 0.25}

    (change,) = changes_between([A], [after])

    assert [tuple(field) for field in change.fields] == [
        ("enabled", "yes", "no"),
        ("tenants", "every tenant", "acme, bolt"),
        ("levels", "every level", "ERROR"),
        ("keep ratio", "1", "0.25"),
    ]


def test_a_renamed_rule_is_the_same_rule() -> None:
    (change,) = changes_between([A], [A | {"name": "payments"}])

    assert (change.kind, change.fields[0]) == ("changed", ("name", "rule-1", "payments"))
