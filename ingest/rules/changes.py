"""What differs between two lists of rules: per rule what was added, removed, changed or moved. Pure."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from ingest.rules.facts import FIELDS, Facts

_EMPTY = {
    "tenants": "every tenant",
    "source_glob": "every source",
    "levels": "every level",
    "metadata_field": "none asked for",
    "metadata_glob": "any value",
    "topic": "none",
    "key": "no key",
    "delivery": "the tenant's own",
    "drop_reason": "none",
}


class FieldChange(NamedTuple):
    """One field in words, before and after."""

    name: str
    before: str
    after: str


class RuleChange(NamedTuple):
    """`kind` is added, removed, changed or moved; one that is changed may have moved too. Places count from 1."""

    kind: str
    rule: Facts
    fields: tuple[FieldChange, ...]
    was_at: int | None
    is_at: int | None

    @property
    def has_moved(self) -> bool:
        return self.kind == "moved" or (self.kind == "changed" and self.was_at != self.is_at)


def changes_between(before: Sequence[Facts], after: Sequence[Facts]) -> list[RuleChange]:
    """In the order of `after`, what was removed behind it. A rule is known by its id, whatever its name."""
    old = {rule["id"]: rule for rule in before}
    was_at, is_at, moved = _places(before), _places(after), _moved(before, after)
    changes = list(_changes_of(after, old, was_at, is_at, moved))
    gone = [rule for rule in before if rule["id"] not in is_at]
    return changes + [RuleChange("removed", rule, _fields_of(rule, {}), was_at[rule["id"]], None) for rule in gone]


def _changes_of(
    after: Sequence[Facts], old: dict[int, Facts], was_at: dict[int, int], is_at: dict[int, int], moved: set[int]
) -> Iterator[RuleChange]:
    for rule in after:
        pk = rule["id"]
        if pk not in old:
            yield RuleChange("added", rule, _fields_of({}, rule), None, is_at[pk])
            continue
        fields = _fields_of(old[pk], rule)
        if fields or pk in moved:
            # Who only makes room for another has not moved.
            place = was_at[pk] if pk in moved else is_at[pk]
            yield RuleChange("changed" if fields else "moved", rule, fields, place, is_at[pk])


def _places(rules: Sequence[Facts]) -> dict[int, int]:
    return {rule["id"]: place for place, rule in enumerate(rules, start=1)}


def _moved(before: Sequence[Facts], after: Sequence[Facts]) -> set[int]:
    """The fewest that must move to make one order the other, among those that are in both."""
    was, is_ = [rule["id"] for rule in before], [rule["id"] for rule in after]
    common = set(was) & set(is_)
    was, is_ = [pk for pk in was if pk in common], [pk for pk in is_ if pk in common]
    blocks = SequenceMatcher(None, was, is_, autojunk=False).get_matching_blocks()
    return common - {pk for block in blocks for pk in was[block.a : block.a + block.size]}


def _fields_of(before: Facts, after: Facts) -> tuple[FieldChange, ...]:
    """Of a rule that is new or gone what is not empty."""
    if before and after:
        names = [name for name in FIELDS if before[name] != after[name]]
    else:
        one = before or after
        of_no_use = ("name", "partitioning") if one["drop_reason"] else ("name",)
        names = [name for name in FIELDS if one[name] not in ("", [], 1.0, True) and name not in of_no_use]
    return tuple(
        FieldChange(
            name.replace("_", " "),
            _in_words(name, before[name]) if before else "",
            _in_words(name, after[name]) if after else "",
        )
        for name in names
    )


def _in_words(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return text or _EMPTY.get(name, "empty")
