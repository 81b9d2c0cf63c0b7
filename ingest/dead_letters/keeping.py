"""From what the data plane could not deliver to rows: one transaction a batch, and a second offer changes nothing.

Control plane; called by a worker's dead-letter writer thread, and it does not remember anything between two batches.
"""

import random
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import msgspec
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from ingest.dataplane.undeliverable import DeliveryAttempt, Undeliverable
from ingest.dead_letters.retries import RetryPolicy, retry_policy
from ingest.dead_letters.searching import text_of
from ingest.models import AttemptResult, DeadLetter, DeadLetterAttempt, LetterStatus, RoutingRule
from ingest.models.dead_letters import DETAIL_CHARACTERS
from ingest.rule_sets import rule_names

BY_WORKER = "worker"
DEFAULT_RULE = "default"

Place = tuple[str, int]
"""The uuid of a journal, and a record's own number in it."""

Rule = tuple[int, int]
"""The number of the rules, and the one of them that routed it."""


class _Identified(msgspec.Struct, rename="camel"):
    event_id: str = ""


_identified = msgspec.json.Decoder(_Identified)


@transaction.atomic
def letters_keep(*, batch: Sequence[Undeliverable]) -> int:
    """Store what is not stored yet, with its attempts so far; returns how many that were. Raises DatabaseError."""
    new = {_place(one): one for one in batch}
    for place in _stored(list(new)):
        del new[place]
    names, policy, now = _rule_names(list(new.values())), retry_policy(), timezone.now()
    rows = [_letter(one, names, policy, now) for one in new.values()]
    # Another worker may adopt the same journal this moment: then its row is as good as ours.
    DeadLetter.objects.bulk_create(rows, ignore_conflicts=True)
    ids = _stored(list(new))
    DeadLetterAttempt.objects.bulk_create(
        _attempt(ids[place], attempt) for place, one in new.items() for attempt in one.attempts
    )
    return len(new)


def _place(one: Undeliverable) -> Place:
    return one.journal_name, one.sequence


def _stored(places: list[Place]) -> dict[Place, int]:
    sequences: dict[str, list[int]] = {}
    for journal, sequence in places:
        sequences.setdefault(journal, []).append(sequence)
    wanted = Q(pk__in=[])
    for journal, numbers in sequences.items():
        wanted |= Q(journal=journal, sequence__in=numbers)
    found = DeadLetter.objects.filter(wanted).values_list("journal", "sequence", "pk")
    return {(journal, sequence): pk for journal, sequence, pk in found}


def _rule_names(batch: Collection[Undeliverable]) -> dict[Rule, str]:
    """As the rules were called when they routed it; as they are now for what was accepted before rules had versions."""
    rules = {_rule(one) for one in batch}
    of_versions = rule_names(version for version, _ in rules)
    of_rows = dict(RoutingRule.objects.filter(pk__in={pk for _, pk in rules}).values_list("pk", "name"))
    return {
        (version, pk): DEFAULT_RULE if pk == 0 else of_versions.get((version, pk)) or of_rows.get(pk, "")
        for version, pk in rules
    }


def _rule(one: Undeliverable) -> Rule:
    return one.policy_version, one.record[4]


def _letter(one: Undeliverable, names: dict[Rule, str], policy: RetryPolicy, now: datetime) -> DeadLetter:
    topic, partition, key, value, rule_id = one.record
    last = one.attempts[-1] if one.attempts else None
    due = policy.next_attempt_at(fault=one.fault, retries=0, since=now, now=now, uniform=random.uniform)
    return DeadLetter(
        journal=one.journal_name,
        sequence=one.sequence,
        tenant=one.tenant,
        event_id=text(event_id_of(value), 128),
        rule_id=rule_id,
        rule_name=names[_rule(one)],
        policy_version=one.policy_version,
        topic=topic,
        partition=partition,
        key=key,
        value=value,
        text=text_of(value),
        size_bytes=len(key) + len(value),
        fault=one.fault.value,
        code=text(last.code, 64) if last else "",
        detail=text(last.detail, DETAIL_CHARACTERS) if last else "",
        accepted_at=_moment(one.accepted_wall_ms),
        dead_at=now,
        status=LetterStatus.WAITING if due else LetterStatus.EXHAUSTED,
        attempts_made=len(one.attempts),
        retry_since=now,
        next_attempt_at=due,
    )


def _attempt(letter_id: int, attempt: DeliveryAttempt) -> DeadLetterAttempt:
    return DeadLetterAttempt(
        letter_id=letter_id,
        at=_moment(attempt.wall_ms),
        result=AttemptResult.FAILED,
        code=text(attempt.code, 64),
        detail=text(attempt.detail, DETAIL_CHARACTERS),
        by=BY_WORKER,
    )


def event_id_of(value: bytes) -> str:
    """The eventId of a record's value; empty where it is none of our events."""
    try:
        return _identified.decode(value).event_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def text(given: str, most_characters: int) -> str:
    """As the database takes it: PostgreSQL refuses NUL in text, and one refused row would stop all behind it."""
    return given.replace("\0", "\ufffd")[:most_characters]


def _moment(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1000, UTC)
