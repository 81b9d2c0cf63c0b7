"""What an operator decides about letters in the console: shown first, with a reason, of what was chosen alone."""

from urllib.parse import urlencode

import pytest
from pytest_django import Settings

from ingest.dead_letters.decisions import AUDITED_IDS, letters_discard, letters_discard_matching, letters_replay
from ingest.dead_letters.selection import LetterCriteria
from ingest.models import DeadLetter, LetterStatus
from tenants.models import AuditEntry
from tests.unit.dead_letters.conftest import Person
from tests.unit.dead_letters.world import World, letter, letters, statuses

pytestmark = pytest.mark.django_db
REPLAY, DISCARD = "/admin/ingest/deadletter/replay/", "/admin/ingest/deadletter/discard/"
LIST = "/admin/ingest/deadletter/"
EXHAUSTED = {"status": LetterStatus.EXHAUSTED, "next_attempt_at": None}


def of(*chosen: DeadLetter, **fields: str) -> str:
    return urlencode([("letter", one.pk) for one in chosen] + list(fields.items()))


def test_a_discard_shows_how_many_of_what_and_asks_why_first(operator: Person) -> None:
    one, other, closed = letter(), letter(topic="audit"), letter(status=LetterStatus.REPLAYED)
    address = f"{DISCARD}?{of(one, other, closed, back='topic=logs')}"

    asked = operator.reads(address)
    without = operator.sends(address, {"last_id": 0, "reason": " "}, status=200)
    before = statuses()
    led_to = operator.sends(address, {"last_id": 0, "reason": "test traffic"})

    one.refresh_from_db()
    assert "Discard 2 dead letters" in asked
    assert "1 of those that you chose is closed already" in asked
    assert "on audit" in asked
    assert "This field is required" in without
    assert before == {"waiting": 2, "replayed": 1}
    assert (one.status, one.ended_by, one.end_reason) == ("discarded", "operator", "test traffic")
    assert statuses() == {"replayed": 1, "discarded": 2}
    assert led_to == f"{LIST}?topic=logs"


def test_all_of_a_cause_are_discarded_but_not_those_that_died_after_it_was_looked_at(operator: Person) -> None:
    letters(120, code="MSG_SIZE_TOO_LARGE", **EXHAUSTED)
    other = letter()
    address = f"{DISCARD}?all=1&code=MSG_SIZE_TOO_LARGE"
    asked = operator.reads(address)
    last_id = asked.partition('name="last_id" value="')[2].partition('"')[0]
    late = letter(code="MSG_SIZE_TOO_LARGE")

    led_to = operator.sends(address, {"last_id": last_id, "reason": "of a test"})

    late.refresh_from_db()
    other.refresh_from_db()
    assert "Discard 120 dead letters" in asked
    assert statuses() == {"waiting": 2, "discarded": 120}
    assert (late.status, other.status) == ("waiting", "waiting")
    assert led_to == f"{LIST}?code=MSG_SIZE_TOO_LARGE"
    line = AuditEntry.objects.get(action="letters.discard")
    assert (line.by, line.target, line.reason) == ("operator", "120 dead letters", "of a test")
    assert line.after == {
        "letters": 120,
        "criteria": {"code": "MSG_SIZE_TOO_LARGE", "status": "open"},
        "last_id": int(last_id),
    }


@pytest.mark.parametrize("query", ["", "back=", "topic=logs", "all=1&fault=nobodys", "letter=x"])
def test_who_chose_nothing_decides_nothing(operator: Person, query: str) -> None:
    letters(3)

    for address in (DISCARD, REPLAY):
        assert operator.sends(f"{address}?{query}", {"last_id": 99, "reason": "oops", "route": "rules"}) == LIST

    assert statuses() == {"waiting": 3}
    assert not AuditEntry.objects.exists()


def test_a_replay_asks_where_to_and_why_first(operator: Person) -> None:
    one, other = letter(**EXHAUSTED), letter(**EXHAUSTED)
    address = f"{REPLAY}?{of(one)}"

    asked = operator.reads(address)
    without = operator.sends(address, {"route": "pinned"}, status=200)
    led_to = operator.sends(address, {"route": "pinned", "reason": "mended"})

    one.refresh_from_db()
    other.refresh_from_db()
    assert "Send 1 dead letter again" in asked
    assert "This field is required" in without
    assert (one.status, one.route, one.requested_by) == ("waiting", "pinned", "operator")
    assert other.status == "exhausted"
    assert led_to == f"{LIST}{one.pk}/change/"
    line = AuditEntry.objects.get()
    assert (line.action, line.target, line.reason) == ("letters.replay", str(one), "mended")
    assert line.after == {"letters": 1, "ids": [one.pk], "route": "pinned"}


def test_the_question_says_where_todays_rules_would_send_them(
    operator: Person, world: World, settings: Settings
) -> None:
    world.write_rules()
    settings.FOREBAY_SNAPSHOT_FILE = world.snapshot_path
    one = letter(**EXHAUSTED)

    # Nobody answers for the cluster here, and the page says so instead of failing.
    assert "nowhere: cluster_away" in operator.reads(f"{REPLAY}destinations/?{of(one)}")


def test_who_is_too_late_is_told(operator: Person) -> None:
    one = letter(**EXHAUSTED)
    operator.reads(f"{DISCARD}?{of(one)}")
    letters_discard(ids=[one.pk], reason="faster", by="ada")

    operator.sends(f"{DISCARD}?{of(one)}", {"last_id": one.pk, "reason": "slower"})

    one.refresh_from_db()
    assert one.ended_by == "ada"
    assert "Nothing was done" in operator.reads(LIST)
    assert "None of these is open any more" in operator.reads(f"{DISCARD}?{of(one)}")


@pytest.mark.parametrize("role", ["viewer", "routing editor", "tenant manager"])
def test_only_operators_decide(role: str, person: type[Person]) -> None:
    somebody, one = person(role), letter()

    for address in (REPLAY, DISCARD, f"{REPLAY}destinations/"):
        somebody.reads(f"{address}?{of(one)}", status=403)
        somebody.sends(f"{address}?{of(one)}", {"last_id": 1, "reason": "no", "route": "rules"}, status=403)

    assert statuses() == {"waiting": 1}


def test_the_audit_log_has_the_numbers_of_the_first_ones_only() -> None:
    letters(AUDITED_IDS + 20)

    letters_replay(ids=DeadLetter.objects.values_list("pk", flat=True), by="ada", reason="mended")

    line = AuditEntry.objects.get()
    assert line.after is not None
    assert (line.after["letters"], len(line.after["ids"])) == (AUDITED_IDS + 20, AUDITED_IDS)


def test_a_decision_that_reached_nothing_leaves_no_line() -> None:
    closed = letter(status=LetterStatus.REPLAYED)

    letters_replay(ids=[closed.pk], by="ada")
    letters_discard(ids=[closed.pk], by="ada", reason="old")
    letters_discard_matching(criteria=LetterCriteria(topic="logs"), last_id=closed.pk, by="ada", reason="old")

    assert not AuditEntry.objects.exists()
