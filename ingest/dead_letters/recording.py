"""What a try to send came to, written to the letters in one transaction a batch.

Control plane; by whoever holds the claim. A claim that ended meanwhile is somebody else's: then only a delivery counts.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
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
# What is put off was not tried: as a rule its tenant's quota had no room for it.
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
    "ended_at",
    "ended_by",
    "end_reason",
)


_CLOSE = f"""
    UPDATE {DeadLetter._meta.db_table}
    SET status = %s, replayed_topic = %s, replayed_partition = %s, replayed_offset = %s, ended_at = %s, ended_by = %s,
        bulk_id = COALESCE(bulk_id, %s), attempts_made = attempts_made + 1, retries = retries + 1,
        next_attempt_at = NULL, claimed_by = '', claimed_until = NULL
    WHERE id = %s AND status IN ({", ".join("%s" for _ in OPEN)})
"""  # noqa: S608 - the table's own name; values are parameters


class Delivered(NamedTuple):
    """Kafka has it."""

    destination: Destination
    report: Report


class Failed(NamedTuple):
    """Kafka has not, or has not said so."""

    report: Report


class PutOff(NamedTuple):
    """It was not tried, and will be within `most_s`; `code` and `detail` say why where an operator should know."""

    most_s: float = PUT_OFF_S
    code: str = ""
    detail: str = ""


Result = Delivered | Failed | Dropped | PutOff


@transaction.atomic
def results_record(
    *, letters: Sequence[DeadLetter], results: dict[int, Result], policy: RetryPolicy, now: datetime
) -> None:
    """Write what became of letters of one claim, and let go of all of them."""
    ours = dict(_still_claimed(letters).values_list("pk", "status"))
    changed, attempts = [], []
    delivered: list[tuple[DeadLetter, Delivered]] = []
    for letter in letters:
        result = results.get(letter.pk, PutOff())
        attempts += _attempts(letter, result, now)
        if isinstance(result, Delivered):
            delivered.append((letter, result))
        elif letter.pk in ours:
            changed.append(_changed(letter, result, ours[letter.pk], policy, now))
    DeadLetter.objects.bulk_update(changed, _CHANGED)
    _close(delivered, now)
    DeadLetterAttempt.objects.bulk_create(attempts)


def _close(delivered: Sequence[tuple[DeadLetter, Delivered]], now: datetime) -> None:
    """Delivered is delivered, whoever has the claim by now; what was delivered before stays as it was written then.

    One statement a row, sent together: bulk_update takes three times as much CPU time, more than the sending does."""
    ended_at = connection.ops.adapt_datetimefield_value(now)
    rows = [
        (
            LetterStatus.REPLAYED.value,
            result.destination.topic,
            result.report.partition,
            result.report.offset,
            ended_at,
            letter.asked_by or BY_RETRY,
            letter.bulk_id,  # of the bulk replay that sent it and was cancelled meanwhile, if no other has it by now
            letter.pk,
            *(status.value for status in OPEN),
        )
        for letter, result in delivered
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_CLOSE, rows)


def _still_claimed(letters: Sequence[DeadLetter]) -> QuerySet[DeadLetter]:
    tokens = {letter.claimed_by for letter in letters}
    claimed = DeadLetter.objects.filter(pk__in=[letter.pk for letter in letters], claimed_by__in=tokens)
    return claimed.select_for_update().order_by("pk")


def _attempts(letter: DeadLetter, result: Result, now: datetime) -> list[DeadLetterAttempt]:
    by = letter.asked_by or BY_RETRY
    if isinstance(result, Delivered):
        return [DeadLetterAttempt(letter=letter, at=now, result=AttemptResult.DELIVERED, by=by)]
    if not isinstance(result, Failed):
        return []
    report = result.report
    kind = AttemptResult.UNKNOWN if report.is_possibly_stored else AttemptResult.FAILED
    detail = text(report.detail, DETAIL_CHARACTERS)
    return [DeadLetterAttempt(letter=letter, at=now, result=kind, code=report.code[:64], detail=detail, by=by)]


def _changed(letter: DeadLetter, result: Result, stored: str, policy: RetryPolicy, now: datetime) -> DeadLetter:
    letter.claimed_by, letter.claimed_until = "", None
    if isinstance(result, Dropped):
        letter.status, letter.next_attempt_at = LetterStatus.DISCARDED, None
        letter.ended_at, letter.ended_by, letter.end_reason = now, BY_RULES, result.reason
    elif isinstance(result, Failed):
        _fail(letter, result.report, policy, now)
    elif isinstance(result, PutOff):
        letter.next_attempt_at = now + timedelta(seconds=random.uniform(1.0, result.most_s))
        letter.code, letter.detail = result.code or letter.code, result.detail or letter.detail
    if letter.is_open and stored != LetterStatus.WAITING:
        # Its bulk replay was cancelled while it was on its way.
        letter.status, letter.next_attempt_at = LetterStatus.EXHAUSTED, None
    return letter


def _fail(letter: DeadLetter, report: Report, policy: RetryPolicy, now: datetime) -> None:
    letter.attempts_made += 1
    letter.retries += 1
    letter.fault = str(report.fault)
    letter.code, letter.detail = report.code[:64], text(report.detail, DETAIL_CHARACTERS)
    letter.unconfirmed += report.is_possibly_stored
    letter.next_attempt_at = policy.next_attempt_at(
        fault=letter.fault, retries=letter.retries, since=letter.retry_since, now=now, uniform=random.uniform
    )
    letter.status = LetterStatus.WAITING if letter.next_attempt_at else LetterStatus.EXHAUSTED
