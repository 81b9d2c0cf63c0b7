"""Letters may hold an event of a MiB and its original beside it: nobody reads many of these at once."""

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.claims import letters_claim
from ingest.dead_letters.decisions import letters_retire
from ingest.dead_letters.routes import Routes
from ingest.dead_letters.selection import READ_ROWS, LetterCriteria, letters_export
from ingest.models import DeadLetter, LetterStatus
from tests.unit.dead_letters.conftest import Person
from tests.unit.dead_letters.world import START, World, event, letter, letters

pytestmark = pytest.mark.django_db
MIB = 1 << 20


def columns_read(work: Callable[[], object]) -> str:
    """Of the table of dead letters, by everything that is asked meanwhile."""
    with CaptureQueriesContext(connection) as captured:
        work()
    found = [query["sql"].partition(" FROM ")[0] for query in captured.captured_queries]
    return " ".join(columns for columns in found if "SELECT" in columns)


def test_the_retention_deletes_without_reading_an_event() -> None:
    letters(3, status=LetterStatus.REPLAYED, ended_at=START)

    read = columns_read(lambda: letters_retire(now=START.replace(year=START.year + 1), budget_s=5))

    assert '"value"' not in read
    assert not DeadLetter.objects.exists()


def test_the_console_lists_without_reading_an_event(viewer: Person) -> None:
    letters(3)

    read = columns_read(lambda: viewer.reads(reverse("admin:ingest_deadletter_changelist")))

    assert '"event_id"' in read
    assert '"value"' not in read
    assert '"original_value"' not in read


def test_the_command_lists_without_reading_an_event() -> None:
    letters(3)

    assert '"value"' not in columns_read(lambda: call_command("dead_letters", "list"))


def test_a_claim_reads_no_originals(world: World) -> None:
    letters(3)

    read = columns_read(lambda: letters_claim(most=3, claim_s=60, max_attempts=3, now=world.now(), by="retry"))

    assert '"value"' in read
    assert '"original_value"' not in read


def test_a_forecast_reads_what_rules_look_at_and_only_so_many_bytes(world: World) -> None:
    world.write_rules()
    letters(12, status=LetterStatus.EXHAUSTED, next_attempt_at=None, size_bytes=10 * MIB)
    bulk = bulks.bulk_plan(criteria=LetterCriteria(tenant="acme"), reason="mended", by="ada")
    plans: list[bulks.BulkPlan] = []

    def forecast() -> None:
        routes = Routes(world.snapshot_path)
        plans.append(bulks.bulk_forecast(bulk=bulk, routes=routes, topics=world.kafka.topics))

    read = columns_read(forecast)

    assert (plans[0].events, plans[0].sampled, plans[0].destinations) == (12, 3, {"logs": 3})
    assert '"value"' in read
    assert '"original_value"' not in read
    assert '"key"' not in read


def test_an_export_holds_a_few_whole_letters_at_a_time(settings: Settings) -> None:
    letter(event_id="e-1", event=event("e-1", message="mended"), original_value=b'{"message":"broken"}')

    with CaptureQueriesContext(connection) as captured:
        (line,) = letters_export(letters=DeadLetter.objects.defer("value", "original_value"))

    assert "mended" in line
    assert "broken" in line
    assert len(captured.captured_queries) == 1
    assert READ_ROWS * 2 * settings.FOREBAY_EVENT_MAX_BYTES <= 32 * MIB
