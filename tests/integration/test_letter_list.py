"""The list of dead letters on PostgreSQL: every question that it asks of a large table is answered from an index."""

from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingest.dead_letters.progress import bulks_progress
from ingest.dead_letters.searching import text_of
from ingest.dead_letters.selection import ANY_OPEN, LetterCriteria, letters_counted, letters_page, letters_select
from ingest.models import BulkReplay, DeadLetter, LetterStatus
from tests.unit.dead_letters.world import letter, letters

# VACUUM, as the database does by itself some time later, is not possible in a transaction.
pytestmark = pytest.mark.django_db(transaction=True)
MANY = 2_000
RARE = {
    "tenant": "bolt",
    "topic": "audit",
    "rule_name": "payments",
    "code": "MSG_SIZE_TOO_LARGE",
    "event_id": "e-odd",
    "text": "shop: card declined by com.example.PaymentService(Payment.java:42), order-17",
}


@pytest.fixture
def odd() -> DeadLetter:
    """One that is like no other, among thousands of two causes."""
    letters(MANY, text="checkout: paid")
    letters(MANY, text="checkout: paid", topic="logs-2", status=LetterStatus.EXHAUSTED, next_attempt_at=None)
    found = letter(**RARE)
    letters(MANY, text="checkout: paid", status=LetterStatus.REPLAYED, next_attempt_at=None)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE ingest_deadletter")
    return found


def listed(criteria: LetterCriteria) -> list[int]:
    """What a page asks for."""
    letters_counted(criteria=criteria)
    return [one.pk for one in letters_page(criteria=criteria, before=None, most=51)]


def plans_of(ask: Callable[[], object]) -> str:
    """How PostgreSQL answers each question that is asked of the letters meanwhile."""
    with CaptureQueriesContext(connection) as captured:
        ask()
    asked = [query["sql"] for query in captured.captured_queries if "ingest_deadletter" in query["sql"]]
    assert asked
    with connection.cursor() as cursor:
        found = []
        for sql in asked:
            cursor.execute(f"EXPLAIN {sql}")
            found += [row[0] for row in cursor.fetchall()]
    return "\n".join(found)


def test_counts_by_cause_and_pages_need_no_look_at_the_whole_table(odd: DeadLetter) -> None:
    everything_open = LetterCriteria(status=ANY_OPEN)

    counts = plans_of(lambda: letters_counted(criteria=everything_open))
    page = plans_of(lambda: letters_page(criteria=everything_open, before=None, most=51))
    later = plans_of(lambda: letters_page(criteria=everything_open, before=odd.pk, most=51))

    assert "Index Only Scan using ingest_letter_causes" in counts
    assert "Seq Scan" not in counts + page + later
    assert "Sort" not in page + later
    assert letters_counted(criteria=everything_open).letters == 2 * MANY + 1


def test_each_filter_finds_what_is_rare_by_an_index(odd: DeadLetter) -> None:
    for name, value in RARE.items():
        asked = {"status": ANY_OPEN, "rule" if name == "rule_name" else name: value}
        criteria = msgspec.convert(asked, LetterCriteria)

        plans = plans_of(partial(listed, criteria))

        assert "Seq Scan" not in plans, name
        assert listed(criteria) == [odd.pk], name


def test_words_are_found_by_their_beginnings_through_their_index(odd: DeadLetter) -> None:
    for typed in ("declined CARD", "paymentserv", "Payment.java:42", "order-17", "17 ord com.exam"):
        criteria = LetterCriteria(text=typed)

        plans = plans_of(partial(listed, criteria))

        assert "ingest_letter_words" in plans, typed
        assert "Seq Scan" not in plans, typed
        assert listed(criteria) == [odd.pk], typed


@pytest.mark.parametrize("typed", ["nowhere", "eclined", "'); DROP TABLE x; --", "a:* | b", "\\", "%"])
def test_what_is_no_beginning_of_a_word_finds_nothing_and_breaks_nothing(typed: str) -> None:
    letter(**RARE)

    assert list(letters_select(criteria=LetterCriteria(text=typed))) == []


def test_a_text_that_was_kept_of_any_event_can_be_stored_and_found() -> None:
    one = letter(text=text_of(b'{"source":"shop","message":"gr\\u00f6\\u00dfe \\u0000 <init> a&b=c"}'))

    assert letters_select(criteria=LetterCriteria(text="GRÖSS")).count() == 0  # ß is no s
    for typed in ("größe", "init", "a b c"):
        assert letters_select(criteria=LetterCriteria(text=typed)).get() == one


def test_progress_of_bulk_replays_is_counted_from_an_index(odd: DeadLetter) -> None:
    bulk = BulkReplay.objects.create(reason="mended", planned_events=MANY)
    DeadLetter.objects.filter(topic="logs-2").update(bulk=bulk)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE ingest_deadletter")

    plans = plans_of(lambda: bulks_progress(bulks=[bulk]))

    assert "ingest_letter_bulks" in plans
    assert bulks_progress(bulks=[bulk])[bulk.pk].exhausted == MANY
