"""One letter in the console: what it shows, and an edit that is seen before it is made."""

import html
import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from ingest.admin.letter_page import diff_lines
from ingest.models import DeadLetter, LetterStatus
from tenants.models import AuditEntry
from tests.unit.dead_letters.conftest import Person
from tests.unit.dead_letters.world import event, letter

pytestmark = pytest.mark.django_db


def page_of(one: DeadLetter, verb: str = "change") -> str:
    return f"/admin/ingest/deadletter/{one.pk}/{verb}/"


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, f"{name} in {page}"
    return found.group(1)


def test_it_shows_the_event_what_was_tried_and_what_routed_it(viewer: Person) -> None:
    stuck = letter(
        event=event("e-1", message="<script>alert(1)</script>"),
        headers=[["shard", "eu-1"]],
        policy_version=17,
        rule_name="payments",
        detail="Broker: Message size too large",
    )
    stuck.attempts.create(at=stuck.dead_at, result="failed", code="MSG_SIZE_TOO_LARGE", by="worker")

    raw = viewer.client.get(page_of(stuck)).content.decode()

    assert "&quot;message&quot;: &quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;" in raw
    assert "<script>alert(1)" not in raw
    for text in ("shard: eu-1", "rules version 17", "payments", "checkout", "MSG_SIZE_TOO_LARGE", "by worker"):
        assert text in raw
    assert "As it was accepted" not in raw


def test_what_was_edited_is_shown_beside_what_was_accepted(viewer: Person) -> None:
    mended = letter(event=event("e-1", message="mended"), original_value=json.dumps(event("e-1")).encode())

    page = viewer.reads(page_of(mended))

    assert '"message": "mended"' in page
    assert '"message": "paid"' in page.partition("As it was accepted")[2]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"status": LetterStatus.EXHAUSTED, "next_attempt_at": None, "fault": "record"}, "for what it is"),
        ({"status": LetterStatus.EXHAUSTED, "next_attempt_at": None}, "as often as it may be"),
        ({"next_attempt_at": timezone.now() + timedelta(days=1)}, "sent again by itself"),
        ({"next_attempt_at": timezone.now() - timedelta(hours=1)}, "or Celery's worker does not run"),
        ({"status": LetterStatus.DISCARDED, "ended_by": "ada", "end_reason": "tests"}, "Given up by ada: tests"),
        (
            {"status": LetterStatus.REPLAYED, "replayed_topic": "logs", "replayed_partition": 3, "replayed_offset": 9},
            "Kafka has it: logs, partition 3, offset 9",
        ),
    ],
)
def test_it_says_what_comes_next(viewer: Person, fields: dict[str, object], says: str) -> None:
    assert says in viewer.reads(page_of(letter(**fields)))


def test_what_is_being_sent_says_so(viewer: Person) -> None:
    flying = letter(claimed_by="somebody", claimed_until=timezone.now() + timedelta(seconds=60))

    assert "being sent this moment" in viewer.reads(page_of(flying))


def test_its_buttons_are_for_operators_and_for_open_letters(operator: Person, viewer: Person) -> None:
    stuck, closed = letter(), letter(status=LetterStatus.REPLAYED)

    assert "Send again" in operator.reads(page_of(stuck))
    assert "Send again" not in viewer.reads(page_of(stuck))
    assert "Send again" not in operator.reads(page_of(closed))
    viewer.reads(page_of(stuck, "edit"), status=403)
    viewer.sends(page_of(stuck, "edit"), {"event": "{}"}, status=403)


def test_an_edit_is_shown_as_a_diff_then_asks_why_and_is_saved(operator: Person) -> None:
    broken = letter(event_id="e-1")
    seen = hidden(operator.reads(page_of(broken, "edit")), "seen")
    form = {"event": json.dumps(event("e-1", level="warning", message="less")), "seen": seen}

    preview = operator.sends(page_of(broken, "edit"), form, status=200)
    broken.refresh_from_db()
    unsaved = broken.document
    form["previewed"] = hidden(preview, "previewed")
    without = operator.sends(page_of(broken, "edit"), {**form, "reason": " "}, status=200)
    led_to = operator.sends(page_of(broken, "edit"), {**form, "reason": "too loud"})

    broken.refresh_from_db()
    assert '<del>-   "message": "paid",</del>' in preview
    assert '<ins>+   "level": "WARN",</ins>' in preview
    assert unsaved == event("e-1")
    assert "This field is required" in without
    assert (led_to, broken.document) == (page_of(broken), event("e-1", level="WARN", message="less"))
    line = AuditEntry.objects.get(action="letter.edit")
    assert (line.by, line.target, line.reason) == ("operator", str(broken), "too loud")
    assert line.after is not None
    assert line.after["changed"] == ["level", "message"]
    assert "less" not in json.dumps([line.before, line.after])


def test_an_edit_that_would_not_be_accepted_says_what_the_api_says_and_keeps_the_text(operator: Person) -> None:
    broken = letter(event_id="e-1")
    seen = hidden(operator.reads(page_of(broken, "edit")), "seen")

    refused = operator.sends(
        page_of(broken, "edit"), {"event": json.dumps(event("e-1", level="LOUD")), "seen": seen}, status=200
    )

    assert "unknown_level" in refused
    assert "LOUD" in refused
    assert 'name="previewed"' not in refused


def test_a_text_that_was_changed_after_its_preview_is_shown_once_more(operator: Person) -> None:
    broken = letter(event_id="e-1")
    seen = hidden(operator.reads(page_of(broken, "edit")), "seen")
    first, second = (json.dumps(event("e-1", message=text)) for text in ("seen", "unseen"))
    preview = operator.sends(page_of(broken, "edit"), {"event": first, "seen": seen}, status=200)

    again = operator.sends(
        page_of(broken, "edit"),
        {"event": second, "seen": seen, "previewed": hidden(preview, "previewed"), "reason": "why not"},
        status=200,
    )

    broken.refresh_from_db()
    assert broken.document == event("e-1")
    assert '<ins>+   "message": "unseen",</ins>' in again


def test_an_edit_of_what_somebody_else_has_edited_meanwhile_is_refused(operator: Person) -> None:
    broken = letter(event_id="e-1")
    seen = hidden(operator.reads(page_of(broken, "edit")), "seen")
    given = json.dumps(event("e-1", message="mine"))
    preview = operator.sends(page_of(broken, "edit"), {"event": given, "seen": seen}, status=200)
    theirs = json.dumps(event("e-1", message="theirs")).encode()
    DeadLetter.objects.update(value=theirs)

    refused = operator.sends(
        page_of(broken, "edit"),
        {"event": given, "seen": seen, "previewed": hidden(preview, "previewed"), "reason": "mine is better"},
        status=200,
    )

    broken.refresh_from_db()
    assert "edited meanwhile" in refused
    assert bytes(broken.value) == theirs


def test_a_letter_that_is_not_there_is_a_404(viewer: Person, operator: Person) -> None:
    viewer.reads("/admin/ingest/deadletter/99/change/", status=404)
    operator.reads("/admin/ingest/deadletter/99/edit/", status=404)


def test_a_diff_cuts_what_is_long() -> None:
    lines = list(diff_lines("{\n  a\n}", "{\n  " + "x" * 3_000 + "\n}"))

    assert [sign for sign, _ in lines] == ["…", " ", "-", "+", " "]
    assert lines[3][1].endswith("… 3,002 characters")
    assert len(html.escape(lines[3][1])) < 2_100
