"""What the tables say in figures: of bounded cost, and totals that never fall."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingest.dead_letters.figures import COMMITTED_AFTER_S, COUNTED_AT_MOST, COUNTED_AT_ONCE_S, figures_now
from ingest.figures import Figures, decode, encode
from ingest.models import BulkReplay, DeadLetter, Incident
from tests.unit.dead_letters.world import letters

pytestmark = pytest.mark.django_db
WALL_S = 1_900_000_000.0


def at(wall_s: float) -> datetime:
    return datetime.fromtimestamp(wall_s, UTC)


def figures(before: Figures | None = None, wall_s: float = WALL_S) -> Figures:
    return decode(encode(figures_now(before, 17.0, wall_s)))


def test_they_say_what_is_open_how_old_it_is_and_what_is_under_way() -> None:
    letters(3)
    letters(2, status="exhausted")
    letters(9, status="replayed", ended_at=at(WALL_S))
    BulkReplay.objects.create(status="running", reason="mended", created_by="ada")
    incident = Incident.objects.create(kind="redis_away", opened_at=at(WALL_S), last_seen_at=at(WALL_S))
    incident.notifications.create(channel="email", event="opened", next_attempt_at=at(WALL_S), attempts=3)
    incident.notifications.create(channel="webhook", event="opened", next_attempt_at=at(WALL_S), sent_at=at(WALL_S))

    found = figures()

    assert found.open_letters == {"waiting": 3, "exhausted": 2}
    assert found.bulk_replays == {"running": 1, "paused": 0}
    assert (found.oldest_letter_age_s, found.untaken_notifications) == (17.0, 1)


def test_each_end_is_counted_once_and_stays_counted_when_its_row_is_deleted() -> None:
    letters(4, status="replayed", ended_at=at(WALL_S - 5))
    letters(1, status="discarded", ended_at=at(WALL_S + 5))
    totals = [figures(wall_s=WALL_S)]
    for seconds in (10, 40, 50):
        totals.append(figures(totals[-1], WALL_S + seconds))
    DeadLetter.objects.all().delete()

    totals.append(figures(totals[-1], WALL_S + 60))

    assert [one.outcomes["replayed"] for one in totals] == [0, 0, 4, 4, 4]
    assert [one.outcomes["discarded"] for one in totals] == [0, 0, 1, 1, 1]


def test_after_a_pause_the_totals_catch_up_a_part_at_a_time() -> None:
    first = figures()
    letters(2, status="replayed", ended_at=at(WALL_S + COUNTED_AT_ONCE_S + 60))
    much_later_s = WALL_S + 10 * COUNTED_AT_ONCE_S

    second = figures(first, much_later_s)
    third = figures(second, much_later_s)

    assert second.counted_to_wall_s == WALL_S - COMMITTED_AFTER_S + COUNTED_AT_ONCE_S
    assert (second.outcomes["replayed"], third.outcomes["replayed"]) == (0, 2)


def test_they_cost_few_queries_and_each_a_bounded_part_of_an_index() -> None:
    with CaptureQueriesContext(connection) as captured:
        figures()

    asked = [query["sql"] for query in captured.captured_queries]
    of_open = [sql for sql in asked if "'waiting'" in sql or "'exhausted'" in sql]
    assert len(asked) <= 8
    assert len(of_open) == 2
    assert all(f"LIMIT {COUNTED_AT_MOST}" in sql for sql in of_open)
