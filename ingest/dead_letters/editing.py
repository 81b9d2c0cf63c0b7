"""Editing a dead letter's event: checked as an event that arrives is, and the original is kept.

Control plane; the console and the command. Whose event it is, its id and what Forebay added on arrival stay.
"""

import json
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ingest import kafka
from ingest.dataplane.errors import BadRequest, EventRejected
from ingest.dataplane.event import EventLimits, LogEvent, Stamp, check_size, complete, decode_one, encode
from ingest.dead_letters.claims import is_free
from ingest.dead_letters.keeping import text as stored_text
from ingest.dead_letters.selection import OPEN
from ingest.models import AttemptResult, DeadLetter, DeadLetterAttempt
from ingest.models.dead_letters import DETAIL_CHARACTERS

_FIXED = ("tenant", "eventId", "receivedAt", "receivedBy")


class EditRefused(Exception):
    """The text is no event that would be accepted, or the letter is not open; it says which."""


@transaction.atomic
def letter_edit(*, letter_id: int, event: str, by: str) -> DeadLetter:
    """Replace the event of an open letter. `event` is a JSON object; raises EditRefused, DeadLetter.DoesNotExist.

    The record's key and topic stay: a replay by today's rules chooses them anew."""
    now = timezone.now()
    letter = DeadLetter.objects.select_for_update().get(pk=letter_id)
    if letter.status not in OPEN or not DeadLetter.objects.filter(is_free(now), pk=letter_id).exists():
        raise EditRefused(f"Dead letter {letter_id} is {letter.status} or on its way; only an open one can be edited.")
    value = _checked(letter, event)
    if letter.original_value is None:
        letter.original_value = bytes(letter.value)
    letter.value, letter.size_bytes = value, len(value) + len(letter.key)
    letter.save(update_fields=["value", "original_value", "size_bytes"])
    detail = f"was {len(letter.original_value)} bytes as accepted, is {len(value)}"
    DeadLetterAttempt.objects.create(
        letter=letter, at=now, result=AttemptResult.EDITED, detail=stored_text(detail, DETAIL_CHARACTERS), by=by[:150]
    )
    return letter


def event_text(letter: DeadLetter) -> str:
    """The event as a person edits it: indented JSON, or the bytes as text where they are no JSON."""
    document = letter.document
    if document is None:
        return bytes(letter.value).decode(errors="replace")
    return json.dumps(document, indent=2, ensure_ascii=False)


def _checked(letter: DeadLetter, given: str) -> bytes:
    """The bytes of the edited event."""
    limits = event_limits()
    try:
        event: LogEvent = decode_one(given.encode(), 1).events[0]
        fixed = _fixed_fields(letter, event)
        complete(event, _stamp(letter, fixed), limits)
        value = encode(event)
        check_size(len(value) + len(letter.key), limits, limits.event_max_bytes)
    except UnicodeEncodeError as error:
        raise EditRefused(f"malformed_json: {error}") from None
    except (BadRequest, EventRejected) as error:
        raise EditRefused(f"{error.code}: {error.detail}") from None
    return value


def _fixed_fields(letter: DeadLetter, event: LogEvent) -> dict[str, Any]:
    """What must stay as it was. Left out it is filled in; changed it is refused."""
    original = letter.original_document if letter.original_value is not None else letter.document
    fixed = {name: original.get(name) for name in _FIXED} if isinstance(original, dict) else {}
    fixed |= {"tenant": letter.tenant, "eventId": letter.event_id or event.event_id}
    given = msgspec.to_builtins(event)
    for name, value in fixed.items():
        if given.get(name) not in (None, value):
            raise EditRefused(f"{name} cannot be changed: it is {value!r}.")
    return fixed


def _stamp(letter: DeadLetter, fixed: dict[str, Any]) -> Stamp:
    return Stamp(
        tenant=letter.tenant,
        peer_address=_text_of(letter, "hostname") or "unknown",
        correlation_id=_text_of(letter, "correlationId") or letter.event_id or "unknown",
        received_by=fixed.get("receivedBy") or "unknown",
        received_wall_ms=round(letter.accepted_at.timestamp() * 1000),
        received_at=fixed.get("receivedAt") or letter.accepted_at.isoformat(timespec="milliseconds"),
        new_id=lambda: letter.event_id,
    )


def _text_of(letter: DeadLetter, name: str) -> str:
    document = letter.document
    return str(document.get(name) or "") if isinstance(document, dict) else ""


def event_limits() -> EventLimits:
    """Those that an arriving event is held to."""
    return EventLimits(
        event_max_bytes=settings.FOREBAY_EVENT_MAX_BYTES,
        surely_fits_bytes=settings.FOREBAY_PRODUCER_BATCH_SIZE_BYTES - kafka.RECORD_OVERHEAD_BYTES,
        request_max_events=settings.FOREBAY_REQUEST_MAX_EVENTS,
        metadata_max_entries=settings.FOREBAY_METADATA_MAX_ENTRIES,
        timestamp_max_age_s=settings.FOREBAY_TIMESTAMP_MAX_AGE_S,
        timestamp_max_ahead_s=settings.FOREBAY_TIMESTAMP_MAX_AHEAD_S,
    )
