"""What operators decide, what they may edit, what they see, and what the retention decides for them."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from ingest.dead_letters.decisions import DecisionRefused, letters_discard, letters_replay, letters_retire
from ingest.dead_letters.editing import EditRefused, event_text, letter_edit
from ingest.dead_letters.selection import (
    LetterCriteria,
    criteria_from,
    letters_by_cause,
    letters_export,
    letters_select,
)
from ingest.models import DeadLetter, LetterStatus
from tests.unit.dead_letters.world import START, event, letter, letters, statuses

pytestmark = pytest.mark.django_db


def edited(**fields: object) -> str:
    return json.dumps(event("e-1", **fields))


def test_a_replay_gives_a_letter_fresh_bounds(settings: Settings) -> None:
    tired = letter(status=LetterStatus.EXHAUSTED, next_attempt_at=None, retries=10, attempts_made=10)

    count = letters_replay(ids=[tired.pk], by="ada")

    tired.refresh_from_db()
    assert (count, tired.status, tired.retries, tired.attempts_made) == (1, "waiting", 0, 10)
    assert (tired.route, tired.requested_by) == ("rules", "ada")
    assert tired.next_attempt_at is not None
    assert tired.next_attempt_at <= timezone.now()


def test_closed_letters_and_those_on_their_way_are_left_alone() -> None:
    sent = letter(status=LetterStatus.REPLAYED)
    flying = letter(claimed_by="somebody", claimed_until=timezone.now() + timedelta(seconds=60))
    both = [sent.pk, flying.pk]

    counts = letters_replay(ids=both, by="ada"), letters_discard(ids=both, reason="old", by="ada")

    assert counts == (0, 0)
    assert statuses() == {"waiting": 1, "replayed": 1}


def test_a_discard_says_who_when_and_why() -> None:
    unwanted = letter()

    letters_discard(ids=[unwanted.pk], reason=" test traffic ", by="ada")

    unwanted.refresh_from_db()
    assert (unwanted.status, unwanted.ended_by, unwanted.end_reason) == ("discarded", "ada", "test traffic")
    assert unwanted.ended_at is not None
    assert unwanted.next_attempt_at is None


def test_a_discard_without_a_reason_is_refused() -> None:
    unwanted = letter()

    with pytest.raises(DecisionRefused, match="Say why"):
        letters_discard(ids=[unwanted.pk], reason="  ", by="ada")

    assert statuses() == {"waiting": 1}


def test_an_edit_keeps_the_original_and_says_who_edited() -> None:
    broken = letter(event_id="e-1", status=LetterStatus.EXHAUSTED)
    original = bytes(broken.value)

    letter_edit(letter_id=broken.pk, event=edited(message="paid twice"), by="ada")
    letter_edit(letter_id=broken.pk, event=edited(message="paid once"), by="bob")

    broken.refresh_from_db()
    assert broken.document == event("e-1", message="paid once")
    assert bytes(broken.original_value or b"") == original
    assert broken.size_bytes == len(broken.value) + len(broken.key)
    assert [(one.result, one.by) for one in broken.attempts.all()] == [("edited", "ada"), ("edited", "bob")]


def test_what_is_left_out_stays_as_it_was() -> None:
    broken = letter(event_id="e-1")

    letter_edit(letter_id=broken.pk, event='{"source":"checkout","level":"warning","message":"less"}', by="ada")

    broken.refresh_from_db()
    assert broken.document == event("e-1", level="WARN", message="less", timestamp="2026-11-18T11:06:40.123Z")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no json", "malformed_json"),
        ("[]", "not_an_object"),
        (edited(level="LOUD"), "unknown_level"),
        (edited(colour="red"), "unknown_field"),
        (edited(timestamp="2001-01-01T00:00:00Z"), "timestamp_out_of_range"),
        (edited(message="x" * (1 << 20)), "event_too_large"),
        (edited(tenant="bolt"), "tenant cannot be changed"),
        (json.dumps(event("another")), "eventId cannot be changed"),
        ('{"source":"checkout","level":"INFO","message":"\\ud800"}', "malformed_json"),
    ],
)
def test_an_edit_that_would_not_be_accepted_is_refused(text: str, complaint: str) -> None:
    broken = letter(event_id="e-1")

    with pytest.raises(EditRefused, match=complaint):
        letter_edit(letter_id=broken.pk, event=text, by="ada")

    broken.refresh_from_db()
    assert broken.original_value is None


def test_a_closed_letter_cannot_be_edited() -> None:
    sent = letter(event_id="e-1", status=LetterStatus.REPLAYED)

    with pytest.raises(EditRefused, match="replayed"):
        letter_edit(letter_id=sent.pk, event=edited(), by="ada")


def test_what_is_no_json_can_still_be_looked_at() -> None:
    assert event_text(DeadLetter(value=b"\xffno json")) == "\ufffdno json"


def test_letters_are_filtered_and_counted_by_cause() -> None:
    letters(2)
    letters(3, topic="audit", code="_MSG_TIMED_OUT", fault="cluster", dead_at=START + timedelta(hours=1))
    letters(1, tenant="bolt")

    causes = letters_by_cause(letters=letters_select(criteria=LetterCriteria(tenant="acme")))
    late = letters_select(criteria=criteria_from({"dead_from": "2026-11-23T12:30:00Z", "fault": "cluster"}))

    assert [(cause.topic, cause.code, cause.letters) for cause in causes] == [
        ("audit", "_MSG_TIMED_OUT", 3),
        ("logs", "TOPIC_AUTHORIZATION_FAILED", 2),
    ]
    assert late.count() == 3


def test_an_export_is_one_letter_a_line_with_its_event() -> None:
    letter(event_id="e-1")
    letter(event=event("e-2"), value=b"\xff")

    lines = [json.loads(line) for line in letters_export(letters=DeadLetter.objects.order_by("pk"))]

    assert (lines[0]["eventId"], lines[0]["event"]) == ("e-1", event("e-1"))
    assert lines[1]["valueBase64"] == "/w=="


def test_an_export_has_all_that_a_replay_would_send() -> None:
    letter(event_id="e-1", headers=[["trace", "17"]])
    letter(event_id="e-2")

    lines = [json.loads(line) for line in letters_export(letters=DeadLetter.objects.order_by("pk"))]

    assert [line["headers"] for line in lines] == [[["trace", "17"]], []]
    assert (lines[0]["topic"], lines[0]["partition"], lines[0]["key"]) == ("logs", 3, "checkout")


def test_the_retention_gives_up_what_nobody_decided_about_and_deletes_it_as_long_after(settings: Settings) -> None:
    settings.FOREBAY_DEAD_LETTER_RETENTION_DAYS = 30
    letters(2)
    letters(1, dead_at=START + timedelta(days=20))
    letters(1, status=LetterStatus.REPLAYED, ended_at=START)

    first = letters_retire(now=START + timedelta(days=31), budget_s=5)
    second = letters_retire(now=START + timedelta(days=62), budget_s=5)

    assert (first, second) == ((2, 1), (1, 2))
    (left,) = DeadLetter.objects.all()
    assert (left.status, left.ended_by, left.end_reason) == ("discarded", "retention", "open for more than 30 days")
