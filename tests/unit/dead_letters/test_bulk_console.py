"""Bulk replays in the console: planned from the list's filters, each step shown first and with a reason, watched."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.progress import bulks_progress
from ingest.dead_letters.selection import LetterCriteria
from ingest.models import BulkReplay, BulkStatus, DeadLetter, LetterStatus
from tenants.models import AuditEntry
from tests.unit.dead_letters.conftest import Person
from tests.unit.dead_letters.world import ADA, World, letter, letters

pytestmark = pytest.mark.django_db
BULKS = "/admin/ingest/bulkreplay/"
EXHAUSTED = {"status": LetterStatus.EXHAUSTED, "next_attempt_at": None}


def planned(**fields: object) -> BulkReplay:
    asked = {"criteria": LetterCriteria(tenant="acme"), "route": "pinned", **ADA}
    return bulks.bulk_plan(**(asked | fields))  # type: ignore[arg-type]


def test_a_plans_form_is_filled_in_from_the_list_and_counts_before_anything_is_planned(operator: Person) -> None:
    letters(3, text="shop: paid")
    letter(tenant="bolt")
    letter(status=LetterStatus.REPLAYED)

    page = operator.reads(f"{BULKS}add/?tenant=acme&text=paid&dead_from=2026-01-01T00:00:00")

    assert 'name="tenant" value="acme"' in page
    assert 'name="text" value="paid"' in page
    assert 'name="dead_from" value="2026-01-01T00:00:00"' in page
    assert "3 open dead letters match now" in page
    assert "This field is required" not in page
    assert not BulkReplay.objects.exists()


def test_each_step_is_shown_first_then_done_with_a_reason(operator: Person) -> None:
    letters(3, **EXHAUSTED)
    led_to = operator.sends(f"{BULKS}add/", {"tenant": "acme", "route": "pinned", "reason": "mended"})
    bulk = BulkReplay.objects.get()
    seen = []

    for verb in ("start", "pause", "resume", "cancel"):
        asked = operator.reads(f"{BULKS}{bulk.pk}/{verb}/")
        operator.sends(f"{BULKS}{bulk.pk}/{verb}/", {"reason": " "}, status=200)
        unchanged = BulkReplay.objects.get().status
        assert operator.sends(f"{BULKS}{bulk.pk}/{verb}/", {"reason": f"to {verb}"}) == led_to
        assert "What will happen" in asked
        assert "0 of 3 letters are replayed" in asked
        seen.append((unchanged, BulkReplay.objects.get().status))

    assert led_to == f"{BULKS}{bulk.pk}/change/"
    assert seen == [("planned", "running"), ("running", "paused"), ("paused", "running"), ("running", "cancelled")]
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "by", "target", "reason")) == [
        ("bulk.plan", "operator", str(bulk), "mended"),
        *((f"bulk.{verb}", "operator", str(bulk), f"to {verb}") for verb in ("start", "pause", "resume", "cancel")),
    ]
    assert AuditEntry.objects.order_by("pk")[0].after == {
        "criteria": {"tenant": "acme", "status": "open"},
        "letters": 3,
        "route": "pinned",
        "quota": False,
    }
    assert AuditEntry.objects.order_by("pk")[1].before == {"status": "planned"}


def test_a_form_that_is_sent_twice_plans_once(operator: Person) -> None:
    letters(3)
    page = operator.reads(f"{BULKS}add/?tenant=acme")
    (token,) = re.findall(r'name="form_token" value="([0-9a-f-]{36})"', page)
    form = {"tenant": "acme", "route": "pinned", "reason": "mended", "form_token": token}

    led_to = [operator.sends(f"{BULKS}add/", form) for _ in range(2)]
    another = operator.reads(f"{BULKS}add/?tenant=acme&form_token={token}")

    bulk = BulkReplay.objects.get()
    assert led_to == [f"{BULKS}{bulk.pk}/change/"] * 2
    assert AuditEntry.objects.filter(action="bulk.plan").count() == 1
    assert token not in another, "the next form plans anew"


def test_a_step_that_is_not_possible_any_more_is_refused_in_words(operator: Person) -> None:
    letters(1)
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)

    operator.sends(f"{BULKS}{bulk.pk}/start/", {"reason": "again"})

    assert "is running, so it cannot become running" in operator.reads(f"{BULKS}{bulk.pk}/change/")
    assert AuditEntry.objects.filter(action="bulk.start").count() == 1


def test_a_plan_of_nothing_or_of_closed_letters_is_refused_in_words(operator: Person) -> None:
    nothing = operator.sends(f"{BULKS}add/", {"tenant": "nobody", "route": "rules", "reason": "mended"}, status=200)
    closed = operator.reads(f"{BULKS}add/?status=replayed")

    assert "No open dead letter matches" in nothing
    assert "There is nothing to send again" in nothing
    assert "Select a valid choice" in closed
    assert not BulkReplay.objects.exists()


def test_a_running_one_is_asked_for_again_and_one_that_is_over_is_not(viewer: Person, world: World) -> None:
    letters(3, **EXHAUSTED)
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)
    running = viewer.reads(f"{BULKS}{bulk.pk}/live/")
    world.sweep()
    world.sweep()

    over = viewer.reads(f"{BULKS}{bulk.pk}/live/")

    assert "every 2s" in running
    assert "0 of 3 replayed" in running
    assert "every 2s" not in over
    assert "3 of 3 replayed" in over
    assert "100 %" in over


def test_the_forecast_says_how_much_where_to_and_that_kafka_is_away(
    viewer: Person, world: World, settings: Settings
) -> None:
    settings.FOREBAY_SNAPSHOT_FILE = world.snapshot_path
    world.write_rules()
    letters(2, size_bytes=2_048, **EXHAUSTED)

    pinned = viewer.reads(f"{BULKS}{planned().pk}/forecast/")
    by_rules = viewer.reads(f"{BULKS}{planned(route='rules').pk}/forecast/")

    assert "4.0" in pinned
    assert "KB" in pinned
    assert "<td>logs</td>" in pinned
    assert "Kafka does not answer" in by_rules
    assert "nowhere: cluster_away" in by_rules


def test_the_list_asks_as_much_for_twenty_as_for_two(viewer: Person) -> None:
    letters(5, **EXHAUSTED)
    for _ in range(2):
        planned()
    few = queries_of(viewer)
    for _ in range(18):
        planned()

    assert queries_of(viewer) == few <= 6


def queries_of(viewer: Person) -> int:
    with CaptureQueriesContext(connection) as captured:
        viewer.reads(BULKS)
    return len(captured.captured_queries)


def test_progress_counts_what_became_of_the_letters_of_each() -> None:
    letters(4, **EXHAUSTED)
    bulk, other = planned(), planned()
    bulk.enlisted_events = 3
    for status in ("replayed", "exhausted", "waiting"):
        pk = DeadLetter.objects.filter(bulk=None).values_list("pk", flat=True)[0]
        DeadLetter.objects.filter(pk=pk).update(bulk=bulk, status=status)

    bars = bulks_progress(bulks=[bulk, other])

    bar = bars[bulk.pk]
    assert (bar.planned, bar.replayed, bar.exhausted, bar.waiting, bar.to_come) == (4, 1, 1, 1, 1)
    assert bar.percent == 50
    assert bars[other.pk].percent == 0


def test_one_that_is_done_is_at_its_end_though_others_have_closed_some() -> None:
    letters(4)
    bulk = planned()
    bulk.status = BulkStatus.DONE

    assert bulks_progress(bulks=[bulk])[bulk.pk].percent == 100


def test_what_failed_is_said_with_the_letters_of_this_replay_alone(viewer: Person) -> None:
    letter(status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    letters(2)
    bulk = planned()
    BulkReplay.objects.filter(pk=bulk.pk).update(status=BulkStatus.DONE, planned_events=2)
    DeadLetter.objects.filter(status=LetterStatus.WAITING).update(
        bulk=bulk, status=LetterStatus.EXHAUSTED, next_attempt_at=None
    )

    page = viewer.reads(f"{BULKS}{bulk.pk}/change/")

    assert "100 %, 2 failed" in page
    assert "fb-progress-warn" in page
    assert f"?status=exhausted&bulk={bulk.pk}" in page
    assert "2 dead letters, 1 cause" in viewer.reads(f"/admin/ingest/deadletter/?status=exhausted&bulk={bulk.pk}")


def test_one_that_nobody_takes_up_says_so(viewer: Person) -> None:
    letters(2)
    bulk = planned()
    bulks.bulk_start(bulk=bulk, **ADA)
    just_begun = viewer.reads(f"{BULKS}{bulk.pk}/live/")
    BulkReplay.objects.filter(pk=bulk.pk).update(started_at=timezone.now() - timedelta(minutes=1))

    assert "does Celery's worker run?" not in just_begun
    assert "does Celery's worker run?" in viewer.reads(f"{BULKS}{bulk.pk}/live/")


def test_an_empty_list_says_what_to_do(viewer: Person) -> None:
    assert "Nobody has planned one" in viewer.reads(BULKS)


def test_only_operators_plan_and_step(viewer: Person) -> None:
    letter()
    bulk = planned()

    viewer.reads(f"{BULKS}add/", status=403)
    viewer.sends(f"{BULKS}add/", {"route": "rules", "reason": "no"}, status=403)
    viewer.reads(f"{BULKS}{bulk.pk}/start/", status=403)
    viewer.sends(f"{BULKS}{bulk.pk}/start/", {"reason": "no"}, status=403)

    assert BulkReplay.objects.get().status == "planned"
    assert "Start" not in viewer.reads(f"{BULKS}{bulk.pk}/change/")
    assert "Plan a bulk" not in viewer.reads(BULKS)


def test_a_step_or_a_replay_that_is_not_there_is_a_404(operator: Person) -> None:
    letter()
    bulk = planned()

    operator.reads(f"{BULKS}{bulk.pk}/explode/", status=404)
    operator.reads(f"{BULKS}{bulk.pk + 1}/change/", status=404)
