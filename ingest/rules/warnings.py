"""What an operator should know of rules before they are live. Nothing here refuses anything. Pure but for settings.

That a rule is shadowed is said only where it is certain: never of one that could still match something.
"""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.conf import settings

from ingest.models import LEVELS
from ingest.rules.facts import Facts
from ingest.rules.known_topics import KnownTopics
from ingest.unusable_topics import Reason, in_words, what_to_do

_WILDCARD = re.compile(r"[*?\[]")


class RuleWarning(NamedTuple):
    """`kind` in one or two words, `text` in a sentence."""

    rule: Facts
    kind: str
    text: str


def warnings_of(rules: Sequence[Facts], topics: KnownTopics) -> list[RuleWarning]:
    """Of the enabled rules, in their order."""
    enabled = [rule for rule in rules if rule["enabled"]]
    return [warning for at, rule in enumerate(enabled) for warning in _warnings_of(rule, enabled[:at], topics)]


def covers(earlier: Facts, later: Facts) -> bool:
    """Whether `earlier` certainly matches whatever `later` does."""
    return (
        _glob_covers(earlier["source_glob"], later["source_glob"])  # first: of two rules it is what differs most often
        and _is_part(later["tenants"], earlier["tenants"])
        and _is_part(later["levels"], [] if set(earlier["levels"]) == set(LEVELS) else earlier["levels"])
        and _metadata_covers(earlier, later)
    )


def _warnings_of(rule: Facts, earlier: Sequence[Facts], topics: KnownTopics) -> Iterator[RuleWarning]:
    above = next((one for one in earlier if covers(one, rule)), None)
    if above is not None:
        text = f"never matches anything: {above['name']}, before it, takes all that it would match."
        yield RuleWarning(rule, "shadowed", text)
    if rule["drop_reason"]:
        return
    if "timestamp" in rule["key"]:
        yield RuleWarning(rule, "timestamp key", "keys on the timestamp: all events of a moment go to one partition.")
    if rule["topic"] not in topics.partitions or rule["topic"] in topics.unusable:
        yield RuleWarning(rule, "topic", _about_topic(rule["topic"], topics))


def _about_topic(topic: str, topics: KnownTopics) -> str:
    unusable = topics.unusable.get(topic)
    if unusable and (unusable.reason != Reason.ABSENT or not topics.is_all):
        why, cure = in_words(unusable), what_to_do(unusable)
        return f"goes to {topic}, which cannot be used, so that its events wait in the journal: {why}. {cure}"
    if not topics.is_all:
        return f"goes to {topic}, which is not verified: the builder looks for it as soon as the rules are live."
    if settings.FOREBAY_TOPIC_CREATE:
        made = f"it will be created with {settings.FOREBAY_TOPIC_PARTITIONS} partitions"
        return f"goes to {topic}, which the cluster does not have: {made}."
    return (
        f"goes to {topic}, which the cluster does not have: its events wait in the journal until somebody creates it."
    )


def _is_part(inner: Sequence[str], outer: Sequence[str]) -> bool:
    """An empty list is everything."""
    return not outer or (bool(inner) and set(inner) <= set(outer))


def _metadata_covers(earlier: Facts, later: Facts) -> bool:
    if not earlier["metadata_field"]:
        return True
    is_same = earlier["metadata_field"] == later["metadata_field"]
    return is_same and _glob_covers(earlier["metadata_glob"], later["metadata_glob"])


def _glob_covers(outer: str, inner: str) -> bool:
    """Certain where they are the same, `inner` is one text, or `outer` is a beginning that `inner` has."""
    if outer in ("", "*", inner):
        return True
    if not inner:
        return False
    if not _WILDCARD.search(inner):
        return re.match(fnmatch.translate(outer), inner) is not None
    beginning = outer.removesuffix("*")
    is_beginning = outer.endswith("*") and not _WILDCARD.search(beginning)
    return is_beginning and _WILDCARD.split(inner, maxsplit=1)[0].startswith(beginning)
