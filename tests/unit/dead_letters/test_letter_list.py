"""The list of dead letters: causes first, one filter for all that is done with it, as few queries for any number."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from django.db import connection
from django.http import StreamingHttpResponse
from django.test.utils import CaptureQueriesContext

from ingest.admin.dead_letter_forms import LetterFilterForm, query_of
from ingest.admin.letter_list import LETTERS_A_PAGE
from ingest.dead_letters.selection import ANY_OPEN, LetterCriteria
from ingest.models import BulkReplay, DeadLetter, LetterStatus
from tenants.models import AuditEntry
from tests.unit.dead_letters.conftest import Person
from tests.unit.dead_letters.world import START, letter, letters

pytestmark = pytest.mark.django_db
BULK = 1_707
EVERYTHING = LetterCriteria(
    tenant="bolt",
    topic="audit",
    rule="payments",
    fault="record",
    code="MSG_SIZE_TOO_LARGE",
    status="exhausted",
    event_id="e-odd",
    bulk=BULK,
    text="charge refused",
    dead_from=START,
    dead_before=START + timedelta(hours=1),
)
ODD = {
    "tenant": "bolt",
    "topic": "audit",
    "rule_name": "payments",
    "fault": "record",
    "code": "MSG_SIZE_TOO_LARGE",
    "status": "exhausted",
    "event_id": "e-odd",
    "bulk_id": BULK,
    "text": "shop: charge was refused",
    "dead_at": START + timedelta(minutes=1),
}
LIST = "/admin/ingest/deadletter/"


def shown(page: str) -> set[int]:
    """The letters that a page lists."""
    return {one.pk for one in DeadLetter.objects.all() if f"/{one.pk}/change/" in page}


def test_it_counts_by_cause_what_it_shows_and_each_cause_has_its_buttons(operator: Person) -> None:
    letters(3)
    letters(2, topic="audit", code="_MSG_TIMED_OUT", fault="cluster")

    everything = operator.reads(LIST)
    filtered = operator.reads(f"{LIST}?topic=audit")

    assert "5 dead letters, 2 causes" in everything
    assert everything.index("TOPIC_AUTHORIZATION_FAILED") < everything.index("_MSG_TIMED_OUT")
    assert "2 dead letters, 1 cause" in filtered
    cause = "topic=audit&fault=cluster&code=_MSG_TIMED_OUT"
    assert f'href="/admin/ingest/bulkreplay/add/?{cause}"' in filtered
    assert f'href="/admin/ingest/deadletter/discard/?all=1&{cause}"' in filtered
    assert f'href="?{cause}"' in filtered


def test_without_a_filter_it_shows_what_is_open(operator: Person) -> None:
    waiting = letter()
    exhausted = letter(status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    replayed = letter(status=LetterStatus.REPLAYED, next_attempt_at=None)

    assert shown(operator.reads(LIST)) == {waiting.pk, exhausted.pk}
    assert shown(operator.reads(f"{LIST}?status=any")) == {waiting.pk, exhausted.pk, replayed.pk}
    assert shown(operator.reads(f"{LIST}?status=replayed")) == {replayed.pk}


@pytest.mark.parametrize("name", LetterCriteria.__struct_fields__)
def test_each_filter_alone_shows_plans_and_exports_the_same_letters(operator: Person, name: str) -> None:
    ordinary = letter(dead_at=START - timedelta(hours=1) if name == "dead_from" else START + timedelta(hours=2))
    BulkReplay.objects.create(pk=BULK, planned_events=1, last_id=1, created_by="ada", reason="mended")
    odd = letter(**ODD)
    query = query_of(LetterCriteria(**{"status": ANY_OPEN, name: getattr(EVERYTHING, name)}))

    listed = operator.reads(f"{LIST}?{query}")
    exported = operator.client.get(f"{LIST}export/?{query}")
    # As a person who follows the link to the plan's form, which is filled in from it, and presses the button.
    operator.sends("/admin/ingest/bulkreplay/add/", {"route": "pinned", "reason": "mended", **dict(parse_qsl(query))})

    bulk = BulkReplay.objects.exclude(pk=BULK).get()
    assert shown(listed) == {odd.pk}
    assert f"/admin/ingest/bulkreplay/add/?{query}" in listed.replace("&amp;", "&")
    assert [line["id"] for line in lines_of(exported)] == [odd.pk]
    assert (bulk.planned_events, bulk.last_id) == (1, odd.pk)
    assert ordinary.pk not in shown(listed)


def lines_of(answer: object) -> list[dict[str, object]]:
    assert isinstance(answer, StreamingHttpResponse)
    content = answer.streaming_content
    assert isinstance(content, Iterable)
    return [json.loads(line) for line in b"".join(content).splitlines()]


def test_a_links_query_means_what_the_criteria_mean() -> None:
    for criteria in (EVERYTHING, LetterCriteria(), LetterCriteria(status=ANY_OPEN, tenant="a&b=c")):
        form = LetterFilterForm(dict(parse_qsl(query_of(criteria))))
        assert form.is_valid()
        assert form.criteria() == criteria


def test_a_filter_that_is_none_says_so_and_lists_nothing_and_its_export_shows_that_page(operator: Person) -> None:
    letter()

    page = operator.reads(f"{LIST}?dead_from=yesterday&fault=mine", status=400)
    export = operator.client.get(f"{LIST}export/?dead_from=yesterday")

    assert "Enter a valid date/time" in page
    assert "Select a valid choice" in page
    assert shown(page) == set()
    assert export.headers["Location"] == f"{LIST}?dead_from=yesterday"


def test_letters_that_are_closed_are_offered_for_nothing(operator: Person) -> None:
    letter(status=LetterStatus.REPLAYED, next_attempt_at=None)

    for status in ("any", "replayed"):
        page = operator.reads(f"{LIST}?status={status}")
        assert "bulkreplay/add" not in page
        assert "discard/?all" not in page


def test_an_empty_list_says_what_that_means(viewer: Person) -> None:
    assert "Nothing waits for anybody" in viewer.reads(LIST)
    assert "No dead letter matches" in viewer.reads(f"{LIST}?tenant=nobody")


def test_pages_lead_through_all_of_them_once(viewer: Person) -> None:
    letters(2 * LETTERS_A_PAGE + 3, tenant="bolt")
    address, seen = f"{LIST}?tenant=bolt", []

    for _ in range(3):
        page = viewer.reads(address)
        seen.append(shown(page))
        _, found, rest = page.partition('href="?tenant=bolt&before=')
        address = f"{LIST}?tenant=bolt&before={rest.partition(chr(34))[0]}" if found else ""

    assert address == ""
    assert [len(one) for one in seen] == [LETTERS_A_PAGE, LETTERS_A_PAGE, 3]
    assert set.union(*seen) == set(DeadLetter.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("query", ["", "text=paid", "status=any&tenant=acme"])
def test_two_thousand_letters_cost_as_many_queries_as_a_hundred(viewer: Person, query: str) -> None:
    letters(100, text="checkout: paid")
    few = queries_of(viewer, query)
    letters(1_900, text="checkout: paid")

    assert queries_of(viewer, query) == few <= 7


def queries_of(viewer: Person, query: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        viewer.reads(f"{LIST}?{query}")
    asked = [one["sql"] for one in captured.captured_queries]
    assert not any("SELECT DISTINCT" in sql and "deadletter" in sql for sql in asked)
    return len(asked)


def test_who_only_looks_sees_no_button_and_may_export(viewer: Person) -> None:
    one = letter()

    page = viewer.reads(LIST)

    assert shown(page) == {one.pk}
    assert "Discard" not in page
    assert "chosen" not in page
    assert "bulkreplay/add" not in page
    assert [line["id"] for line in lines_of(viewer.client.get(f"{LIST}export/"))] == [one.pk]


def test_an_export_is_in_the_audit_log_with_what_it_was_of(viewer: Person) -> None:
    viewer.client.get(f"{LIST}export/?topic=audit")

    line = AuditEntry.objects.get(action="letters.export")
    assert line.by == "viewer"
    assert line.after == {"criteria": {"topic": "audit", "status": "open"}}


def test_a_letter_of_another_time_zone_is_found_by_utc() -> None:
    form = LetterFilterForm({"dead_from": "2026-11-23T12:00"})

    assert form.is_valid()
    assert form.criteria().dead_from == datetime(2026, 11, 23, 12, tzinfo=UTC)
