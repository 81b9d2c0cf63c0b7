"""Editing a dead letter's event: checked as an event that arrives is, and the original is kept.

Control plane; the console and the command. Whose event it is, its id and what Forebay added on arrival stay.
"""

import hashlib
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
from ingest.dead_letters.searching import text_of
from ingest.dead_letters.selection import OPEN
from ingest.models import AttemptResult, DeadLetter, DeadLetterAttempt
from ingest.models.dead_letters import DETAIL_CHARACTERS, document_of
from tenants.audit import audit

_FIXED = ("tenant", "eventId", "receivedAt", "receivedBy")


class EditRefused(Exception):
    """The text is no event that would be accepted, or the letter is not open; it says which."""


@transaction.atomic
def letter_edit(*, letter_id: int, event: str, reason: str = "", by: str, seen: str = "") -> DeadLetter:
    """Replace the event of an open letter. `event` is a JSON object; raises EditRefused, DeadLetter.DoesNotExist.

    The record's key and topic stay: a replay by today's rules chooses them anew. `seen` is the fingerprint of the event
    that the new one was made of: when it is another by now, somebody else's edit would be lost."""
    now = timezone.now()
    letter = DeadLetter.objects.select_for_update().get(pk=letter_id)
    if letter.status not in OPEN or not DeadLetter.objects.filter(is_free(now), pk=letter_id).exists():
        raise EditRefused(f"Dead letter {letter_id} is {letter.status} or on its way; only an open one can be edited.")
    if seen and seen != fingerprint(letter):
        raise EditRefused(f"Dead letter {letter_id} was edited meanwhile; look at it again.")
    value, before = checked_event(letter=letter, event=event), bytes(letter.value)
    if letter.original_value is None:
        letter.original_value = before
    letter.value, letter.text, letter.size_bytes = value, text_of(value), len(value) + len(letter.key)
    letter.save(update_fields=["value", "text", "original_value", "size_bytes"])
    detail = f"was {len(letter.original_value)} bytes as accepted, is {len(value)}"
    DeadLetterAttempt.objects.create(
        letter=letter, at=now, result=AttemptResult.EDITED, detail=stored_text(detail, DETAIL_CHARACTERS), by=by[:150]
    )
    _audit(letter, before, by, reason)
    return letter


def _audit(letter: DeadLetter, before: bytes, by: str, reason: str) -> None:
    """Names and sizes alone: the log is for good, and what tenants send is not to stay longer than its letter."""
    audit(
        by=by,
        action="letter.edit",
        target=letter,
        reason=reason,
        before={"bytes": len(before)},
        after={"bytes": len(letter.value), "changed": _changed_fields(document_of(before), letter.document)},
    )


def _changed_fields(old: Any, new: Any) -> list[str]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return ["everything"]
    return sorted(name for name in {**old, **new} if old.get(name) != new.get(name))


def fingerprint(letter: DeadLetter) -> str:
    """Of its event as it is now."""
    return hashlib.sha256(bytes(letter.value)).hexdigest()


def event_text(letter: DeadLetter) -> str:
    """The event as a person edits it."""
    return pretty_text(bytes(letter.value))


def pretty_text(value: bytes) -> str:
    """Indented JSON, or the bytes as text where they are no JSON."""
    document = document_of(value)
    return value.decode(errors="replace") if document is None else json.dumps(document, indent=2, ensure_ascii=False)


def checked_event(*, letter: DeadLetter, event: str) -> bytes:
    """What would be stored of an edited event. Raises EditRefused with the code that the API would answer."""
    limits = event_limits()
    try:
        given: LogEvent = decode_one(event.encode(), 1).events[0]
        fixed = _fixed_fields(letter, given)
        complete(given, _stamp(letter, fixed), limits)
        value = encode(given)
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
