"""What a try to send came to, written to the letters in one transaction a batch.

Control plane; by whoever holds the claim. A claim that ended meanwhile is somebody else's: then only a delivery counts.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from ingest.dead_letters.keeping import text
from ingest.dead_letters.retries import RetryPolicy
from ingest.dead_letters.routes import Destination, Dropped
from ingest.dead_letters.selection import OPEN
from ingest.dead_letters.sending import Report
from ingest.models import AttemptResult, DeadLetter, DeadLetterAttempt, LetterStatus
from ingest.models.dead_letters import DETAIL_CHARACTERS

BY_RETRY = "retry"
BY_RULES = "rules"
# What is put off was not tried: its tenant's quota had no room for it.
PUT_OFF_S = 5.0

_CHANGED = (
    "status",
    "fault",
    "code",
    "detail",
    "attempts_made",
    "retries",
    "next_attempt_at",
    "unconfirmed",
    "claimed_by",
    "claimed_until",
    "replayed_topic",
    "replayed_partition",
    "replayed_offset",
    "ended_at",
    "ended_by",
    "end_reason",
)


class Delivered(NamedTuple):
    """Kafka has it."""

    destination: Destination
    report: Report


class Failed(NamedTuple):
    """Kafka has not, or has not said so."""

    report: Report


class PutOff(NamedTuple):
    """It was not tried, and will be soon."""


Result = Delivered | Failed | Dropped | PutOff


@transaction.atomic
def results_record(
    *, letters: Sequence[DeadLetter], results: dict[int, Result], policy: RetryPolicy, now: datetime
) -> None:
    """Write what became of letters of one claim, and let go of all of them."""
    ours = dict(_still_claimed(letters).values_list("pk", "status"))
    changed, attempts, late = [], [], []
    for letter in letters:
        result = results.get(letter.pk, PutOff())
        attempts += _attempts(letter, result, now)
        if letter.pk in ours:
            _change(letter, result, policy, now)
            if letter.is_open and ours[letter.pk] != LetterStatus.WAITING:
                # Its bulk replay was cancelled while it was on its way.
                letter.status, letter.next_attempt_at = LetterStatus.EXHAUSTED, None
            changed.append(letter)
        elif isinstance(result, Delivered):
            late.append((letter, result))
    DeadLetter.objects.bulk_update(changed, _CHANGED)
    for letter, delivered in late:
        _close(letter, LetterStatus.REPLAYED, now, letter.requested_by or BY_RETRY)
        _place(letter, delivered)
        fields = ("status", "ended_at", "ended_by", "replayed_topic", "replayed_partition", "replayed_offset")
        open_still = DeadLetter.objects.filter(pk=letter.pk, status__in=OPEN)
        open_still.update(**{field: getattr(letter, field) for field in fields}, next_attempt_at=None)
    DeadLetterAttempt.objects.bulk_create(attempts)


def _still_claimed(letters: Sequence[DeadLetter]) -> QuerySet[DeadLetter]:
    tokens = {letter.claimed_by for letter in letters}
    claimed = DeadLetter.objects.filter(pk__in=[letter.pk for letter in letters], claimed_by__in=tokens)
    return claimed.select_for_update().order_by("pk")


def _attempts(letter: DeadLetter, result: Result, now: datetime) -> list[DeadLetterAttempt]:
    by = letter.requested_by or BY_RETRY
    if isinstance(result, Delivered):
        return [DeadLetterAttempt(letter=letter, at=now, result=AttemptResult.DELIVERED, by=by)]
    if not isinstance(result, Failed):
        return []
    report = result.report
    kind = AttemptResult.UNKNOWN if report.is_possibly_stored else AttemptResult.FAILED
    detail = text(report.detail, DETAIL_CHARACTERS)
    return [DeadLetterAttempt(letter=letter, at=now, result=kind, code=report.code[:64], detail=detail, by=by)]


def _change(letter: DeadLetter, result: Result, policy: RetryPolicy, now: datetime) -> None:
    letter.claimed_by, letter.claimed_until = "", None
    if isinstance(result, PutOff):
        letter.next_attempt_at = now + timedelta(seconds=random.uniform(1.0, PUT_OFF_S))
    elif isinstance(result, Dropped):
        _close(letter, LetterStatus.DISCARDED, now, BY_RULES)
        letter.end_reason = result.reason
    else:
        letter.attempts_made += 1
        letter.retries += 1
        if isinstance(result, Delivered):
            _close(letter, LetterStatus.REPLAYED, now, letter.requested_by or BY_RETRY)
            _place(letter, result)
        else:
            _fail(letter, result.report, policy, now)


def _fail(letter: DeadLetter, report: Report, policy: RetryPolicy, now: datetime) -> None:
    letter.fault = str(report.fault)
    letter.code, letter.detail = report.code[:64], text(report.detail, DETAIL_CHARACTERS)
    letter.unconfirmed += report.is_possibly_stored
    letter.next_attempt_at = policy.next_attempt_at(
        fault=letter.fault, retries=letter.retries, since=letter.retry_since, now=now, uniform=random.uniform
    )
    letter.status = LetterStatus.WAITING if letter.next_attempt_at else LetterStatus.EXHAUSTED


def _close(letter: DeadLetter, status: LetterStatus, now: datetime, by: str) -> None:
    letter.status, letter.next_attempt_at = status, None
    letter.ended_at, letter.ended_by = now, by


def _place(letter: DeadLetter, delivered: Delivered) -> None:
    letter.replayed_topic = delivered.destination.topic
    letter.replayed_partition, letter.replayed_offset = delivered.report.partition, delivered.report.offset
