"""Which dead letters: the one filter that list, commands, bulk replays and the export share, and counts by cause.

Control plane; reads only.
"""

import base64
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db.models import Count, Max, Min, QuerySet

from ingest.dead_letters.searching import has_words
from ingest.models import DeadLetter, LetterStatus

OPEN = (LetterStatus.WAITING, LetterStatus.EXHAUSTED)
ANY_OPEN = "open"
"""As a status: waiting or exhausted."""
# Of letters with the words that somebody typed a page looks at so many: every other filter has an index that counts.
COUNTED_BY_WORDS = 5_000
# Each may hold an event of a MiB, and the original beside it.
READ_ROWS = 10
# What may be that large: a list shows neither.
LARGE = ("value", "original_value")


class LetterCriteria(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a dead letter must be; an empty field asks for nothing."""

    tenant: str = ""
    topic: str = ""
    rule: str = ""
    fault: str = ""
    code: str = ""
    status: str = ""
    event_id: str = ""
    bulk: int | None = None
    text: str = ""
    dead_from: datetime | None = None
    dead_before: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """For a row: only what is asked for."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.as_json().items()) or "every letter"


class Cause(NamedTuple):
    """Letters that died of the same thing."""

    fault: str
    code: str
    topic: str
    letters: int
    first_at: datetime
    last_at: datetime


class Counted(NamedTuple):
    """Letters by cause, the most frequent first. `is_partial`: only of the newest, there may be more."""

    causes: list[Cause]
    letters: int
    is_partial: bool


def criteria_from(stored: dict[str, Any]) -> LetterCriteria:
    """From a row, a query or a command line. Raises msgspec.ValidationError for a name or a value that is none."""
    return msgspec.convert(stored, LetterCriteria)


def letters_select(*, criteria: LetterCriteria) -> QuerySet[DeadLetter]:
    """The letters that match, newest first."""
    asked = {
        "tenant": criteria.tenant,
        "topic": criteria.topic,
        "rule_name": criteria.rule,
        "fault": criteria.fault,
        "code": criteria.code,
        "status": "" if criteria.status == ANY_OPEN else criteria.status,
        "status__in": OPEN if criteria.status == ANY_OPEN else (),
        "event_id": criteria.event_id,
        "bulk": criteria.bulk,
        "dead_at__gte": criteria.dead_from,
        "dead_at__lt": criteria.dead_before,
    }
    letters = DeadLetter.objects.filter(**{name: value for name, value in asked.items() if value})
    if criteria.text:
        letters = letters.filter(has_words(criteria.text))
    return letters.order_by("-pk")


def letters_by_cause(*, letters: QuerySet[DeadLetter]) -> list[Cause]:
    """The causes of letters, the most frequent first."""
    rows = (
        letters.order_by()
        .values_list("fault", "code", "topic")
        .annotate(letters=Count("*"), first_at=Min("dead_at"), last_at=Max("dead_at"))
        .order_by("-letters", "fault", "code", "topic")
    )
    return [Cause(*row) for row in rows]


def letters_counted(*, criteria: LetterCriteria) -> Counted:
    """What a list shows, in one query whose time is bounded whatever was typed."""
    letters = letters_select(criteria=criteria)
    causes = _causes_of_newest(letters) if criteria.text else letters_by_cause(letters=letters)
    total = sum(cause.letters for cause in causes)
    return Counted(causes, total, bool(criteria.text) and total == COUNTED_BY_WORDS)


def _causes_of_newest(letters: QuerySet[DeadLetter]) -> list[Cause]:
    times: dict[tuple[str, str, str], list[datetime]] = {}
    for fault, code, topic, dead_at in letters.values_list("fault", "code", "topic", "dead_at")[:COUNTED_BY_WORDS]:
        times.setdefault((fault, code, topic), []).append(dead_at)
    causes = [Cause(*about, len(died), min(died), max(died)) for about, died in times.items()]
    return sorted(causes, key=lambda cause: (-cause.letters, cause[:3]))


def letters_page(*, criteria: LetterCriteria, before: int | None, most: int) -> list[DeadLetter]:
    """The letters that match, newest first, those before a number; without what may be large."""
    letters = letters_select(criteria=criteria)
    if before is not None:
        letters = letters.filter(pk__lt=before)
    if criteria.text:
        # For few letters of a rare word PostgreSQL takes the words of one after the other apart, newest first, until
        # it has enough; for thousands it asks the index of words.
        ids = list(letters.values_list("pk", flat=True)[:COUNTED_BY_WORDS])[:most]
        letters = DeadLetter.objects.filter(pk__in=ids).order_by("-pk")
    return list(letters.defer(*LARGE)[:most])


def letters_read(*, letters: QuerySet[DeadLetter]) -> Iterator[DeadLetter]:
    """One after the other, a few in memory at a time."""
    return letters.iterator(chunk_size=READ_ROWS)


def letters_export(*, letters: QuerySet[DeadLetter]) -> Iterator[str]:
    """NDJSON, a letter a line; whole letters, whatever a list had left out."""
    for letter in letters_read(letters=letters.defer(None)):
        yield json.dumps(letter_facts(letter), ensure_ascii=False) + "\n"


def letter_facts(letter: DeadLetter) -> dict[str, Any]:
    """A letter as scripts see it. The event is JSON where it is, else its bytes as base64."""
    return {
        "id": letter.pk,
        "tenant": letter.tenant,
        "eventId": letter.event_id,
        "status": letter.status,
        "fault": letter.fault,
        "code": letter.code,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "rule": letter.rule_name,
        "ruleId": letter.rule_id,
        "policyVersion": letter.policy_version,
        "journal": letter.journal,
        "sequence": letter.sequence,
        "acceptedAt": letter.accepted_at.isoformat(),
        "deadAt": letter.dead_at.isoformat(),
        "attempts": letter.attempts_made,
        "unconfirmed": letter.unconfirmed,
        "nextAttemptAt": _iso(letter.next_attempt_at),
        "replayed": place_facts(letter),
        "endedAt": _iso(letter.ended_at),
        "endedBy": letter.ended_by,
        "endReason": letter.end_reason,
        **_bytes("key", letter.key),
        "headers": letter.headers,
        **event_facts(letter),
        **({"original": letter.original_document} if letter.original_value is not None else {}),
    }


def event_facts(letter: DeadLetter) -> dict[str, Any]:
    """The event as JSON where it is, else its bytes as text or base64."""
    document = letter.document
    return {"event": document} if document is not None else _bytes("value", letter.value)


def place_facts(letter: DeadLetter) -> dict[str, Any] | None:
    """Where Kafka has it; None where it has not."""
    if not letter.replayed_topic:
        return None
    return {
        "topic": letter.replayed_topic,
        "partition": letter.replayed_partition,
        "offset": letter.replayed_offset,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _bytes(name: str, value: Any) -> dict[str, str]:
    try:
        return {name: bytes(value).decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(bytes(value)).decode()}
