"""Who is sending which letter: claims that end by themselves, so that a killed sender's letters are found again.

Control plane; Celery's processes, any number at once. With PostgreSQL two claimers pass each other by SKIP LOCKED; on
SQLite one writes at a time, and the update takes only what is still free.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from ingest.dead_letters.turns import Turns
from ingest.models import (
    AttemptResult,
    BulkReplay,
    BulkStatus,
    DeadLetter,
    DeadLetterAttempt,
    LetterStatus,
)

INTERRUPTED = "interrupted"


def is_free(now: datetime) -> Q:
    """Nobody is sending it."""
    return Q(claimed_until=None) | Q(claimed_until__lte=now)


def due_letters(*, now: datetime) -> QuerySet[DeadLetter]:
    """What should be sent by now and nobody is sending, the longest due first."""
    paused = list(BulkReplay.objects.filter(status=BulkStatus.PAUSED).values_list("pk", flat=True))
    due = DeadLetter.objects.filter(is_free(now), status=LetterStatus.WAITING, next_attempt_at__lte=now)
    return due.exclude(bulk__in=paused).order_by("next_attempt_at", "pk")


def is_somebody_sending(*, now: datetime) -> bool:
    """Whether a claim is alive. Two that ask in one moment may both go on: the claims keep them apart."""
    return DeadLetter.objects.filter(claimed_until__gt=now).exists()


@transaction.atomic
def letters_claim(
    *, most: int, claim_s: float, max_attempts: int, now: datetime, by: str, turns: Turns | None = None
) -> list[DeadLetter]:
    """Up to `most` due letters, whose turn it is; nobody else gets them for `claim_s`.

    A letter whose last claim ended without a word counts as tried: it may be what killed its sender, and after
    `max_attempts` it is an operator's."""
    locked = connection.features.has_select_for_update_skip_locked
    chosen = (turns or Turns()).choose(due_letters(now=now), most, locked=locked).last_claims
    ids = list(chosen)
    token = uuid4().hex
    free = DeadLetter.objects.filter(is_free(now), pk__in=ids, status=LetterStatus.WAITING)
    free.update(claimed_by=token, claimed_until=now + timedelta(seconds=claim_s))
    interrupted = [pk for pk, last in chosen.items() if last]
    _note_interrupted(interrupted, token, now, by)
    fatal = DeadLetter.objects.filter(pk__in=interrupted, claimed_by=token, retries__gte=max_attempts)
    fatal.update(
        status=LetterStatus.EXHAUSTED, code=INTERRUPTED, next_attempt_at=None, claimed_by="", claimed_until=None
    )
    # By number too: the claim's token has no index, and the table may be large.
    ours = DeadLetter.objects.filter(pk__in=ids, claimed_by=token)
    return list(ours.select_related("bulk").defer("original_value").order_by("pk"))


def _note_interrupted(ids: Sequence[int], token: str, now: datetime, by: str) -> None:
    """They may have reached Kafka before their sender died: what is sent now may be a copy, under the same eventId."""
    ours = DeadLetter.objects.filter(pk__in=ids, claimed_by=token)
    DeadLetterAttempt.objects.bulk_create(
        DeadLetterAttempt(letter_id=pk, at=now, result=AttemptResult.UNKNOWN, code=INTERRUPTED, by=by)
        for pk in ours.values_list("pk", flat=True)
    )
    ours.update(
        unconfirmed=F("unconfirmed") + 1,
        attempts_made=F("attempts_made") + 1,
        retries=F("retries") + 1,
    )
