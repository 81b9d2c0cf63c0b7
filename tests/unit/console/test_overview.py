"""The overview's page: what it shows without a service, of how many, and with how many queries."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from ingest.console import overview
from ingest.models import DeadLetter, Incident, PlatformMinute

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client: Client, settings: Settings) -> Client:
    """Of an operator, with no Redis to be had."""
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"
    client.force_login(User.objects.create_superuser("operator"))
    return client


def letter(sequence: int, code: str = "MSG_SIZE_TOO_LARGE", topic: str = "logs") -> DeadLetter:
    now = timezone.now()
    return DeadLetter(
        journal="j",
        sequence=sequence,
        tenant="acme",
        event_id=str(sequence),
        topic=topic,
        value=b"{}",
        fault="record",
        code=code,
        accepted_at=now,
        dead_at=now,
        retry_since=now,
    )


def incident(number: int) -> Incident:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return Incident(kind="topic_parked", subject=f"topic-{number}", opened_at=at, last_seen_at=at)


def test_redis_away_is_the_problem_and_what_the_database_has_is_still_shown(page: Client) -> None:
    DeadLetter.objects.bulk_create([letter(1), letter(2)])

    shown = page.get("/admin/").content.decode()

    assert "Redis</b> does not answer" in shown
    assert "record: MSG_SIZE_TOO_LARGE" in shown
    assert "Events in" not in shown  # a figure that nobody knows is not shown as zero


def test_the_first_alerts_and_causes_are_shown_and_the_others_counted(page: Client) -> None:
    Incident.objects.bulk_create(incident(number) for number in range(overview.ROWS_SHOWN + 3))
    DeadLetter.objects.bulk_create(letter(number, code=f"CODE_{number}") for number in range(overview.ROWS_SHOWN + 2))

    shown = page.get("/admin/overview/live/").content.decode()

    assert "and 3 more<" in shown
    assert "and 2 more causes" in shown
    assert shown.count("CODE_") == 2 * overview.ROWS_SHOWN  # in the words and in the link


def test_the_page_asks_as_many_queries_for_thousands_as_for_none(page: Client) -> None:
    page.get("/admin/")

    with CaptureQueriesContext(connection) as few:
        page.get("/admin/")
    Incident.objects.bulk_create(incident(number) for number in range(100))
    DeadLetter.objects.bulk_create(letter(number, code=f"CODE_{number % 70}") for number in range(1_000))
    PlatformMinute.objects.bulk_create(
        PlatformMinute(at=timezone.now() - timedelta(minutes=number)) for number in range(1_440)
    )
    with CaptureQueriesContext(connection) as many:
        page.get("/admin/")

    assert len(many) <= len(few) + 1  # the count of alerts beyond those shown
    assert len(many) < 12


def test_a_minute_without_a_row_is_a_gap_and_quarters_of_an_hour_are_merged(page: Client) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    PlatformMinute.objects.bulk_create(
        PlatformMinute(at=now - timedelta(minutes=back), accepted_events=events, produce_p99_ms=p99)
        for back, events, p99 in ((0, 600, 10.0), (1, 1_200, None), (3, 6_000, 40.0))
    )

    hour, day = (page.get("/admin/overview/charts/", {"span": span}).context["charts"] for span in ("hour", "day"))

    events, latencies = hour[0].lines[0], hour[1].lines[2]
    assert events.latest == "10"  # a second
    assert events.path.count("M") == 2  # the minute that nobody recorded
    assert latencies.path.count("M") == 2
    assert day[0].lines[0].path.count("M") == 1


def test_an_empty_history_says_where_it_comes_from(page: Client) -> None:
    assert "a row comes with each minute" in page.get("/admin/overview/charts/").content.decode()
