"""Heartbeats over a real Redis: what a worker writes is read back, and only what fell silent is forgotten."""

from collections.abc import Iterator

import msgspec
import pytest
import redis

from ingest.breaker_reports import BreakersReport
from ingest.heartbeats import BREAKERS, WORKERS, BreakerStatus, Heartbeat, forget, told, workers

WALL_S = 1_900_000_000.0


@pytest.fixture
def client(empty_redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(empty_redis_url) as connected:
        yield connected


def test_a_beat_is_read_back_with_what_was_given_and_the_rest_by_default(client: redis.Redis) -> None:
    heart = Heartbeat(client, "n1", 7, WALL_S)
    breakers = [{"name": "the cluster", "state": "OPEN", "cause": "timeouts", "since_wall_ms": 9, "of_no_use": 1}]

    heart.beat({"snapshot_version": None, "produce_p99_ms": 12.5, "breakers": breakers, "of_no_use": 1}, WALL_S + 1)

    (status,) = workers(client)
    assert (status.name, status.started_wall_s, status.seen_wall_s) == ("n1/7", WALL_S, WALL_S + 1)
    assert (status.produce_p99_ms, status.journal_used_bytes) == (12.5, 0)
    assert status.breakers == (BreakerStatus(name="the cluster", state="OPEN", cause="timeouts", since_wall_ms=9),)


def test_a_beat_of_the_wrong_type_is_refused_where_it_is_written(client: redis.Redis) -> None:
    heart = Heartbeat(client, "n1", 7, WALL_S)

    with pytest.raises(msgspec.ValidationError):
        heart.beat({"journal_used_bytes": "many"}, WALL_S)


def test_a_goodbye_takes_the_worker_off_the_list(client: redis.Redis) -> None:
    staying, leaving = Heartbeat(client, "n1", 7, WALL_S), Heartbeat(client, "n1", 8, WALL_S)
    staying.beat({}, WALL_S)
    leaving.beat({}, WALL_S)

    leaving.goodbye()

    assert [status.name for status in workers(client)] == ["n1/7"]


def test_what_a_worker_tells_beside_its_heartbeat_goes_with_it(client: redis.Redis) -> None:
    staying, leaving, dead = (Heartbeat(client, "n1", pid, WALL_S) for pid in (7, 8, 9))
    for heart in (staying, leaving, dead):
        heart.beat({}, WALL_S)
        heart.tell(BREAKERS, BreakersReport(1, ()))

    leaving.goodbye()
    forget(client, [status for status in workers(client) if status.pid == 9])

    assert list(told(client, BREAKERS, BreakersReport)) == ["n1/7"]


def test_a_heartbeat_has_no_expiry(client: redis.Redis) -> None:
    Heartbeat(client, "n1", 7, WALL_S).beat({}, WALL_S)

    assert client.ttl(WORKERS) == -1


def test_a_worker_that_beats_again_meanwhile_is_not_forgotten(client: redis.Redis) -> None:
    dead, thawed = Heartbeat(client, "n1", 7, WALL_S), Heartbeat(client, "n1", 8, WALL_S)
    dead.beat({}, WALL_S)
    thawed.beat({}, WALL_S)
    judged = workers(client)
    thawed.beat({}, WALL_S + 60)

    gone = forget(client, judged)

    assert gone == 1
    assert [status.name for status in workers(client)] == ["n1/8"]


def test_an_entry_that_cannot_be_read_does_not_hide_the_others(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.hset(WORKERS, "n0/1", "nonsense")
    Heartbeat(client, "n1", 7, WALL_S).beat({}, WALL_S)

    assert [status.name for status in workers(client)] == ["n1/7"]
    assert "cannot be read" in caplog.text
