"""What a tenant sees of its own dead letters, a page at a time."""

import pytest

from ingest.api.dead_letters import PAGE_BYTES, dead_letters_page, parse_query
from ingest.dataplane.errors import BadRequest
from tests.unit.dead_letters.world import event, letter, letters

pytestmark = pytest.mark.django_db


def test_a_tenant_sees_its_own_newest_first_and_nobody_elses() -> None:
    letter(event_id="old")
    letter(event_id="new")
    letter(event_id="of-bolt", tenant="bolt")

    page = dead_letters_page("acme", parse_query(""))

    assert [one["eventId"] for one in page["deadLetters"]] == ["new", "old"]
    assert page["nextCursor"] is None


def test_nothing_of_the_operators_is_in_it() -> None:
    letter(requested_by="ada", ended_by="ada", end_reason="secret", claimed_by="token", event_id="e-1")

    (shown,) = dead_letters_page("acme", parse_query(""))["deadLetters"]

    assert shown["event"] == event("e-1")
    assert not {"ada", "secret", "token"} & {str(value) for value in shown.values()}


def test_cursors_lead_through_all_of_them_once() -> None:
    letters(7)
    seen, query = [], "limit=3"

    for _ in range(3):
        page = dead_letters_page("acme", parse_query(query))
        seen += [one["eventId"] for one in page["deadLetters"]]
        query = f"limit=3&cursor={page['nextCursor']}"

    assert (len(seen), len(set(seen)), page["nextCursor"]) == (7, 7, None)


def test_a_page_of_large_events_ends_early() -> None:
    letters(3, size_bytes=PAGE_BYTES // 2 + 1)

    page = dead_letters_page("acme", parse_query(""))

    assert len(page["deadLetters"]) == 1
    assert page["nextCursor"] is not None


def test_a_status_can_be_asked_for() -> None:
    letters(1)
    letters(2, status="replayed", replayed_topic="logs", replayed_partition=3, replayed_offset=7)

    shown = dead_letters_page("acme", parse_query("status=replayed"))["deadLetters"]

    assert [one["replayed"] for one in shown] == [{"topic": "logs", "partition": 3, "offset": 7}] * 2


@pytest.mark.parametrize("text", ["limit=0", "limit=1000", "limit=x", "cursor=x", "status=gone", "colour=red"])
def test_a_query_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_query(text)

    assert refused.value.code == "invalid_query"
