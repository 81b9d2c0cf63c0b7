"""`manage.py dead_letters`: everything the console does, for terminals and scripts."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from ingest.models import BulkReplay, DeadLetter, LetterStatus
from tests.unit.dead_letters.world import event, letter, letters, statuses

pytestmark = pytest.mark.django_db


def told(*arguments: object) -> str:
    out = StringIO()
    call_command("dead_letters", *map(str, arguments), stdout=out)
    return out.getvalue()


def test_list_and_causes_take_the_same_filters() -> None:
    letters(2)
    letters(1, topic="audit", code="_MSG_TIMED_OUT", fault="cluster")

    listed = [json.loads(line) for line in told("list", "--topic", "audit", "--json").splitlines()]
    causes = told("causes", "--fault", "topic")

    assert [one["code"] for one in listed] == ["_MSG_TIMED_OUT"]
    assert causes.split()[:3] == ["2", "topic/TOPIC_AUTHORIZATION_FAILED", "logs"]
    assert len(told("list", "--max", 2).splitlines()) == 2
    assert told("list", "--dead-before", "2020-01-01") == ""


def test_show_tells_the_event_and_what_was_tried() -> None:
    stuck = letter(event_id="e-1")
    stuck.attempts.create(at=stuck.dead_at, result="failed", code="MSG_SIZE_TOO_LARGE", by="worker")

    shown = told("show", stuck.pk)

    assert "failed  MSG_SIZE_TOO_LARGE" in shown
    assert json.loads(shown[shown.index("{") :]) == event("e-1")


def test_edit_takes_a_file_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    stuck = letter(event_id="e-1")
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(event("e-1", message="mended")))
    bad.write_text("{}")

    told("edit", stuck.pk, "--file", good)

    stuck.refresh_from_db()
    assert stuck.document["message"] == "mended"
    with pytest.raises(CommandError, match="missing_field"):
        told("edit", stuck.pk, "--file", bad)


def test_replay_and_discard_count_what_they_did_and_what_they_left() -> None:
    one, two = letter(status=LetterStatus.EXHAUSTED), letter(status=LetterStatus.REPLAYED)

    replayed = json.loads(told("replay", one.pk, two.pk, "--route", "pinned", "--json"))
    discarded = told("discard", one.pk, "--reason", "test traffic")

    assert replayed == {"count": 1, "left": 1}
    assert discarded == "1 are discarded.\n"
    assert statuses() == {"replayed": 1, "discarded": 1}
    assert "(command)" in DeadLetter.objects.get(pk=one.pk).ended_by


def test_a_bulk_replay_is_planned_started_and_stopped() -> None:
    letters(3)

    # The topics are asked of a cluster that is not there, so the plan cannot name a destination that exists.
    planned = json.loads(told("bulk", "plan", "--tenant", "acme", "--route", "pinned", "--reason", "mended", "--json"))
    steps = [told("bulk", step, planned["id"]) for step in ("start", "pause", "resume", "status", "cancel")]

    assert (planned["events"], planned["destinations"], planned["charges_quota"]) == (3, {"logs": 3}, False)
    assert [line.split()[4].rstrip(":") for line in steps] == ["running", "paused", "running", "running", "cancelled"]
    assert ["enlisted 0" in line and "last_changed_by" in line for line in steps] == [True] * 5
    assert BulkReplay.objects.filter(status=F("status"), reason="mended").count() == 1
    assert "(command)" in BulkReplay.objects.get().last_changed_by
    with pytest.raises(CommandError, match="is cancelled"):
        told("bulk", "start", planned["id"])


def test_export_is_ndjson() -> None:
    letters(3)

    assert {json.loads(line)["tenant"] for line in told("export").splitlines()} == {"acme"}


@pytest.mark.parametrize("arguments", [("show", 99), ("edit", 99, "--file", "/dev/null"), ("bulk", "start", 99)])
def test_what_is_not_there_is_said_in_one_line(arguments: tuple[object, ...]) -> None:
    with pytest.raises(CommandError, match="There is no"):
        told(*arguments)
