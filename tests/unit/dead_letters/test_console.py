"""The operators' console for dead letters and bulk replays."""

import html
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingest.models import BulkReplay, DeadLetter, LetterStatus
from tests.unit.dead_letters.world import event, letter, letters, statuses

pytestmark = pytest.mark.django_db
LIST = "admin:ingest_deadletter_changelist"


@pytest.fixture
def console(client: Client, settings: Settings, tmp_path: Path) -> Client:
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    # Nobody listens there: what a forecast asks of the cluster is not answered, and it says so.
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    client.force_login(get_user_model().objects.create_superuser("operator"))
    return client


def text_of(answer: object) -> str:
    return html.unescape(answer.content.decode())  # type: ignore[attr-defined]


def chosen(*found: DeadLetter, **fields: object) -> dict[str, object]:
    return {"_selected_action": [one.pk for one in found], **fields}


def test_the_list_counts_by_cause_what_it_shows(console: Client) -> None:
    letters(3)
    letters(2, topic="audit", code="_MSG_TIMED_OUT", fault="cluster")

    everything = text_of(console.get(reverse(LIST)))
    filtered = text_of(console.get(reverse(LIST), {"topic": "audit"}))

    assert "<td>3</td><td>topic</td><td>TOPIC_AUTHORIZATION_FAILED</td><td>logs</td>" in everything
    assert "<td>2</td><td>cluster</td><td>_MSG_TIMED_OUT</td><td>audit</td>" in filtered
    assert "<td>logs</td>" not in filtered
    assert f"{reverse('admin:ingest_bulkreplay_add')}?topic=audit" in filtered


def test_a_letter_shows_its_event_and_what_was_tried(console: Client) -> None:
    stuck = letter(event_id="e-1", event=event("e-1", message="<script>alert(1)</script>"))
    stuck.attempts.create(at=stuck.dead_at, result="failed", code="MSG_SIZE_TOO_LARGE", by="worker")

    raw = console.get(reverse("admin:ingest_deadletter_change", args=[stuck.pk])).content.decode()

    assert "&quot;message&quot;: &quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;" in raw
    assert "<script>alert(1)" not in raw
    assert "MSG_SIZE_TOO_LARGE" in raw


def test_a_discard_asks_why_first(console: Client) -> None:
    one = letter()

    asked = text_of(console.post(reverse(LIST), chosen(one, action="discard")))
    without = text_of(console.post(reverse(LIST), chosen(one, action="discard", apply="1", reason=" ")))
    before = statuses()
    console.post(reverse(LIST), chosen(one, action="discard", apply="1", reason="test traffic"))

    one.refresh_from_db()
    assert 'name="reason"' in asked
    assert "This field is required" in without
    assert before == {"waiting": 1}
    assert (one.status, one.ended_by, one.end_reason) == ("discarded", "operator", "test traffic")


def test_a_replay_asks_where_to_first_and_takes_all_that_the_filter_matches(console: Client) -> None:
    letters(150, status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    other = letter(topic="audit", status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    first = DeadLetter.objects.filter(topic="logs")[0]
    page = f"{reverse(LIST)}?topic=logs"

    asked = text_of(console.post(page, chosen(first, action="replay", select_across="1")))
    console.post(page, chosen(first, action="replay", select_across="1", apply="1", route="pinned"))

    other.refresh_from_db()
    assert "<td>150</td>" in asked
    assert statuses() == {"waiting": 150, "exhausted": 1}
    assert other.status == "exhausted"
    assert set(DeadLetter.objects.filter(topic="logs").values_list("route", "requested_by")) == {("pinned", "operator")}


def test_the_buttons_of_one_letter_do_the_same(console: Client) -> None:
    one = letter(status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    page = reverse("admin:ingest_deadletter_change", args=[one.pk])

    asked = text_of(console.post(page, {"action": "replay"}))
    console.post(page, {"action": "replay", "apply": "1", "route": "rules"})

    one.refresh_from_db()
    assert "by today" in asked or "today's routing rules" in asked
    assert (one.status, one.route) == ("waiting", "rules")


def test_an_edit_that_would_not_be_accepted_says_why_and_keeps_the_text(console: Client) -> None:
    one = letter(event_id="e-1")
    page = reverse("admin:ingest_deadletter_edit", args=[one.pk])

    refused = text_of(console.post(page, {"event": json.dumps(event("e-1", level="LOUD"))}))
    console.post(page, {"event": json.dumps(event("e-1", level="ERROR"))})

    one.refresh_from_db()
    assert "unknown_level" in refused
    assert "LOUD" in refused
    assert one.document["level"] == "ERROR"


def test_the_export_is_what_the_list_shows(console: Client) -> None:
    letters(2)
    letters(1, topic="audit")

    answer = console.get(reverse("admin:ingest_deadletter_export"), {"topic": "audit"})

    assert isinstance(answer, StreamingHttpResponse)
    content = answer.streaming_content
    assert isinstance(content, Iterable)
    lines = b"".join(content).splitlines()
    assert [json.loads(line)["topic"] for line in lines] == ["audit"]


def test_a_bulk_replay_is_planned_from_the_lists_filters_then_started_and_paused(console: Client) -> None:
    letters(3)
    add = reverse("admin:ingest_bulkreplay_add")
    empty = text_of(console.get(add, {"tenant": "acme"}))

    answer = console.post(add, {"tenant": "acme", "route": "pinned", "reason": "mended"}, follow=True)
    bulk = BulkReplay.objects.get()
    page = reverse("admin:ingest_bulkreplay_change", args=[bulk.pk])
    steps = []
    for step in ("start", "pause", "cancel"):
        console.post(page, {"step": step})
        bulk.refresh_from_db()
        steps.append(bulk.status)

    assert 'value="acme"' in empty
    assert "3 events" in text_of(answer)
    assert "to logs: 3" in text_of(answer)
    assert (bulk.criteria, bulk.created_by, bulk.reason) == ({"tenant": "acme"}, "operator", "mended")
    assert steps == ["running", "paused", "cancelled"]


def test_a_bulk_replay_of_nothing_is_refused_in_words(console: Client) -> None:
    form = {"tenant": "nobody", "route": "rules", "reason": "mended"}

    answer = console.post(reverse("admin:ingest_bulkreplay_add"), form, follow=True)

    assert "No open dead letter matches" in text_of(answer)
    assert not BulkReplay.objects.exists()


def test_who_may_only_look_changes_nothing(console: Client) -> None:
    one = letter(event_id="e-1")
    watcher = get_user_model().objects.create_user("watcher", is_staff=True)
    console.force_login(watcher)

    answers = [
        console.get(reverse("admin:ingest_deadletter_export")),
        console.get(reverse("admin:ingest_deadletter_edit", args=[one.pk])),
        console.post(reverse("admin:ingest_deadletter_change", args=[one.pk]), {"action": "replay", "apply": "1"}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
