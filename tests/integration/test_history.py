"""The console's history on a real Redis: a row a minute, written once, and each move of a breaker, copied once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from ingest.breaker_store import transitions_after
from ingest.console.history import breaker_transitions_copy, history_retire, platform_minute_record
from ingest.heartbeats import Heartbeat
from ingest.models import BreakerTransition, PlatformMinute
from ingest.tasks.history import copy_breaker_transitions, record_platform_minute
from tests.integration.breaker_world import boards, look_all, open_it

pytestmark = pytest.mark.django_db

WALL_S = 1_900_000_050.0  # half past a minute
UP_TO = {"0.1": 100.0, "0.5": 100.0, "+Inf": 100.0}


@pytest.fixture
def redis(empty_redis_url: str, settings: Settings) -> Iterator[Redis]:
    settings.FOREBAY_REDIS_URL = empty_redis_url
    with Redis.from_url(empty_redis_url) as client:
        yield client


def beat(redis: Redis, pid: int, wall_s: float, accepted: float) -> None:
    told = {"accepted_last_minute_events": accepted, "produce_last_minute_up_to": UP_TO}
    Heartbeat(redis, "n1", pid, WALL_S - 3_600).beat(told, wall_s)


def test_the_minute_that_ended_is_a_row_of_all_workers_that_were_heard(redis: Redis) -> None:
    beat(redis, 1, WALL_S - 1, accepted=600)
    beat(redis, 2, WALL_S - 2, accepted=60.4)
    beat(redis, 3, WALL_S - 30, accepted=9_999)  # missing

    row = platform_minute_record(redis, WALL_S)

    assert row is not None
    assert row.at == datetime.fromtimestamp(WALL_S - 30, UTC)
    assert (row.workers, row.accepted_events) == (2, 660)
    assert row.produce_p99_ms == pytest.approx(99)


def test_a_minute_is_recorded_once_however_often_it_is_asked_for(redis: Redis) -> None:
    beat(redis, 1, WALL_S, accepted=600)
    platform_minute_record(redis, WALL_S)
    beat(redis, 1, WALL_S + 20, accepted=1)

    again = platform_minute_record(redis, WALL_S + 20)
    following = platform_minute_record(redis, WALL_S + 30)

    assert again is None
    assert following is not None
    assert list(PlatformMinute.objects.values_list("accepted_events", flat=True)) == [1, 600]


def test_no_worker_is_a_row_too_for_that_is_what_the_minute_was_like(redis: Redis) -> None:
    row = platform_minute_record(redis, WALL_S)

    assert row is not None
    assert (row.workers, row.produce_p99_ms) == (0, None)


def test_each_move_of_a_breaker_is_copied_once_in_its_order(redis: Redis, empty_redis_url: str) -> None:
    with boards(empty_redis_url, 1) as (board,):
        open_it(board.topic("logs"))
        look_all(board)
        first = breaker_transitions_copy(redis)
        again = breaker_transitions_copy(redis)
        open_it(board.cluster)
        look_all(board)
        later = breaker_transitions_copy(redis)
    told = [move for _, move in transitions_after(redis, "0", 100)]

    copied = list(BreakerTransition.objects.order_by("at", "pk"))
    assert (first >= 1, again, later >= 1) == (True, 0, True)
    assert [(row.topic, row.old, row.new) for row in copied] == [(move.topic, move.old, move.new) for move in told]
    assert len({row.stream_id for row in copied}) == len(copied)


def test_the_tasks_leave_it_be_while_redis_is_away(settings: Settings) -> None:
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"

    assert record_platform_minute() is False
    assert copy_breaker_transitions() == 0
    assert not PlatformMinute.objects.exists()


def test_rows_older_than_the_settings_say_are_deleted(redis: Redis, settings: Settings) -> None:
    settings.FOREBAY_HISTORY_RETENTION_DAYS = 2
    now = timezone.now()
    for days in (1, 3):
        PlatformMinute.objects.create(at=now - timedelta(days=days))
        BreakerTransition.objects.create(stream_id=f"{days}-0", old="CLOSED", new="OPEN", at=now - timedelta(days=days))

    assert history_retire() == 2
    assert (PlatformMinute.objects.count(), BreakerTransition.objects.count()) == (1, 1)
