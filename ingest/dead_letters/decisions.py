"""What an operator decides about letters: send them again, give them up, and giving up what nobody decided about.

Control plane; the console, the commands and the retention task. A letter in a sender's hands is nobody else's: it is
left out, and the count that is returned says so.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ingest.dead_letters.claims import is_free
from ingest.dead_letters.selection import OPEN, LetterCriteria, letters_select
from ingest.models import DeadLetter, LetterStatus, ReplayRoute
from tenants.audit import audit

BY_RETENTION = "retention"
LETTERS_AT_ONCE = 1_000
# So many numbers of letters the audit log has of each decision.
AUDITED_IDS = 100


class DecisionRefused(Exception):
    """It cannot be done so; the text says why."""


@transaction.atomic
def letters_replay(*, ids: Iterable[int], route: str = ReplayRoute.RULES, reason: str = "", by: str) -> int:
    """Make open letters due now, with fresh bounds of attempts and age; the sweep sends them within seconds.

    Returns how many: those that are closed or on their way are left alone."""
    now, ids = timezone.now(), list(ids)
    count = _free(ids, now).update(
        status=LetterStatus.WAITING,
        route=route,
        requested_by=by[:150],
        retries=0,
        retry_since=now,
        next_attempt_at=now,
        own_attempt_at=None,
        bulk=None,
    )
    _audit("letters.replay", count, by, reason, ids=ids, route=str(route))
    return count


@transaction.atomic
def letters_discard(*, ids: Iterable[int], reason: str, by: str) -> int:
    """Give open letters up, for a reason that stays with them. Returns how many. Raises DecisionRefused."""
    now, ids = timezone.now(), list(ids)
    count = _free(ids, now).update(**_given_up(now, by, _said(reason)))
    _audit("letters.discard", count, by, reason, ids=ids)
    return count


@transaction.atomic
def letters_discard_matching(*, criteria: LetterCriteria, last_id: int, reason: str, by: str) -> int:
    """Give up all open letters that match, and of those only what there was up to `last_id`: what somebody has looked
    at. Returns how many. Raises DecisionRefused."""
    now = timezone.now()
    given_up = _given_up(now, by, _said(reason))
    matching = letters_select(criteria=criteria).filter(is_free(now), pk__lte=last_id, status__in=OPEN)
    ids = list(matching.order_by().values_list("pk", flat=True))
    # One statement over a hundred thousand rows takes longer than any statement may.
    count = sum(
        _free(ids[at : at + LETTERS_AT_ONCE], now).update(**given_up) for at in range(0, len(ids), LETTERS_AT_ONCE)
    )
    _audit("letters.discard", count, by, reason, criteria=criteria.as_json(), last_id=last_id)
    return count


def letters_retire(*, now: datetime, budget_s: float) -> tuple[int, int]:
    """Discard what is open for longer than the retention, delete what has been closed for as long; in small batches.

    Returns how many of each."""
    before = now - timedelta(days=settings.FOREBAY_DEAD_LETTER_RETENTION_DAYS)
    until = timezone.now() + timedelta(seconds=budget_s)
    discarded = deleted = 0
    while timezone.now() < until:
        given_up, gone = _discard_old(before, now), _delete_old(before)
        discarded, deleted = discarded + given_up, deleted + gone
        if max(given_up, gone) < LETTERS_AT_ONCE:
            break
    return discarded, deleted


def _said(reason: str) -> str:
    if not reason.strip():
        raise DecisionRefused("Say why: a discarded event is gone, and its tenant may ask.")
    return reason.strip()


def _audit(action: str, count: int, by: str, reason: str, *, ids: Sequence[int] = (), **about: object) -> None:
    """Of what happened: where nothing did, there is no line."""
    if not count:
        return
    target = f"dead letter {ids[0]}" if len(ids) == 1 else f"{count} dead letters"
    if ids:
        about["ids"] = ids[:AUDITED_IDS]
    audit(by=by, action=action, target=target, reason=reason, after={"letters": count, **about})


def _free(ids: Iterable[int], now: datetime) -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(is_free(now), pk__in=list(ids), status__in=OPEN)


def _discard_old(before: datetime, now: datetime) -> int:
    old = DeadLetter.objects.filter(is_free(now), dead_at__lt=before, status__in=OPEN)
    ids = list(old.order_by("dead_at").values_list("pk", flat=True)[:LETTERS_AT_ONCE])
    reason = f"open for more than {settings.FOREBAY_DEAD_LETTER_RETENTION_DAYS} days"
    return _free(ids, now).update(**_given_up(now, BY_RETENTION, reason))


@transaction.atomic
def _delete_old(before: datetime) -> int:
    ids: list[int] = []
    for status in (LetterStatus.REPLAYED, LetterStatus.DISCARDED):
        closed = DeadLetter.objects.filter(status=status, ended_at__lt=before).order_by("ended_at")
        ids += closed.values_list("pk", flat=True)[: LETTERS_AT_ONCE - len(ids)]
    # Django reads what it deletes, for the attempts that go with it: a thousand events may be a gigabyte.
    DeadLetter.objects.filter(pk__in=ids).only("pk").delete()
    return len(ids)


def _given_up(now: datetime, by: str, reason: str) -> dict[str, object]:
    return {
        "status": LetterStatus.DISCARDED,
        "next_attempt_at": None,
        "ended_at": now,
        "ended_by": by[:150],
        "end_reason": reason[:500],
        "claimed_by": "",
        "claimed_until": None,
    }
