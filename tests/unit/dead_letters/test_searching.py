"""A letter's words: kept when it dies and when it is edited, filled in for older ones, and found again."""

import importlib
import json
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection

from ingest.dead_letters.editing import letter_edit
from ingest.dead_letters.keeping import letters_keep
from ingest.dead_letters.searching import TEXT_CHARACTERS, text_of
from ingest.dead_letters.selection import COUNTED_BY_WORDS, LetterCriteria, letters_counted, letters_select
from ingest.models import DeadLetter
from tests.unit.dead_letters.world import event, letter, letters, undeliverable

pytestmark = pytest.mark.django_db


def found(text: str) -> set[int]:
    return set(letters_select(criteria=LetterCriteria(text=text)).values_list("pk", flat=True))


def test_the_text_is_source_message_and_the_head_of_the_stack_trace() -> None:
    value = json.dumps({"source": "shop", "message": "m" * 5_000, "stackTrace": "at Pay.charge\n" + "s" * 5_000})

    text = text_of(value.encode())

    assert text.startswith("shop: mmm")
    assert "\nat Pay.charge\n" in text
    assert len(text) == TEXT_CHARACTERS


@pytest.mark.parametrize(("value", "text"), [(b"\xffno json", "\ufffdno json"), (b"[1]", "[1]"), (b"", "")])
def test_of_what_is_no_event_it_is_the_beginning(value: bytes, text: str) -> None:
    assert text_of(value) == text


def test_no_character_that_the_database_refuses_is_in_it() -> None:
    assert text_of(json.dumps({"source": "a\0b", "message": "c"}).encode()) == "a\ufffdb: c"


def test_a_letter_keeps_its_words_and_an_edit_changes_them() -> None:
    value = json.dumps(event("e-1", message="card declined")).encode()
    letters_keep(batch=[undeliverable(1, record=("logs", 3, b"k", value, 0))])
    kept = DeadLetter.objects.get()

    before = kept.text
    letter_edit(letter_id=kept.pk, event=json.dumps(event("e-1", message="card taken")), by="ada")

    kept.refresh_from_db()
    assert (before, kept.text) == ("checkout: card declined", "checkout: card taken")


def test_all_words_must_be_there_in_any_order_and_case() -> None:
    declined = letter(text="shop: Card declined by com.example.PaymentService")
    letter(text="shop: card taken")

    assert found("DECLINED card") == {declined.pk}
    assert found("payment") == {declined.pk}
    assert found("card nowhere") == set()


def test_what_has_no_word_in_it_finds_nothing() -> None:
    letter(text="shop: paid")

    assert found("%") == found("--- !") == set()


def test_what_many_letters_say_is_counted_of_the_newest_only() -> None:
    letters(COUNTED_BY_WORDS + 5, text="shop: paid")

    by_words = letters_counted(criteria=LetterCriteria(text="paid"))
    by_topic = letters_counted(criteria=LetterCriteria(topic="logs"))

    assert (by_words.letters, by_words.is_partial) == (COUNTED_BY_WORDS, True)
    assert (by_topic.letters, by_topic.is_partial) == (COUNTED_BY_WORDS + 5, False)


def test_letters_that_died_before_there_was_a_text_are_filled_in() -> None:
    migration = importlib.import_module("ingest.migrations.0011_letter_text")
    letters(2 * migration.LETTERS_AT_ONCE + 1, text="")

    migration.fill(apps, SimpleNamespace(connection=connection))

    assert set(DeadLetter.objects.values_list("text", flat=True)) == {"checkout: paid"}
