"""Breakers of several workers on a real Redis: one state for all, exactly the permitted trials, Redis away and back."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from ingest.breaker_board import BreakerBoard
from ingest.breaker_store import standings, transitions
from ingest.broker_probe import BrokerProbe
from ingest.dataplane.breaker import State
from tests.integration.breaker_world import (
    LIMITS,
    boards,
    connect,
    eventually,
    look_all,
    look_and_tell,
    open_it,
    take,
    word,
)
from tests.services import RedisServer


# --- one state for all -----------------------------------------------------------------------------------------------
def test_what_one_worker_opens_is_open_for_all_and_for_those_that_start_later(empty_redis_url: str) -> None:
    with boards(empty_redis_url, 3) as (first, second, late):
        second.topic("logs")
        open_it(first.topic("logs"))
        look_all(first, second)

        look_all(late, rounds=1)

        assert [board.topic("logs").state for board in (first, second, late)] == [State.OPEN] * 3
        assert late.topic("payments").state is State.CLOSED


def test_two_workers_that_open_at_once_open_once(empty_redis_url: str) -> None:
    with boards(empty_redis_url, 2) as (first, second), connect(empty_redis_url) as redis:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda board: open_it(board.cluster), (first, second)))

        look_all(first, second)

        assert [(board.cluster.state, board.cluster.epoch) for board in (first, second)] == [(State.OPEN, 1)] * 2
        assert [(move.old, move.new) for move in transitions(redis)] == [(State.CLOSED, State.OPEN)]


def test_an_operators_word_is_carried_to_workers_whose_snapshot_is_late(empty_redis_url: str) -> None:
    with boards(empty_redis_url, 2) as (first, second), connect(empty_redis_url) as redis:
        first.apply([word(1, "FORCED_OPEN", "logs")])
        second.topic("logs")

        look_all(first, second)
        forced = second.topic("logs").state
        first.apply([word(2, "RESET", "logs")])
        look_all(first, second)
        second.apply([word(1, "FORCED_OPEN", "logs")])

        assert (forced, second.topic("logs").state) == (State.FORCED_OPEN, State.CLOSED)
        assert [(move.topic, move.new, move.by) for move in transitions(redis)] == [
            ("logs", State.CLOSED, "operator"),
            ("logs", State.FORCED_OPEN, "operator"),
        ]


def test_a_reset_that_was_said_while_nobody_ran_closes_what_redis_remembers_as_open(empty_redis_url: str) -> None:
    with boards(empty_redis_url, 2) as (old, new):
        open_it(old.cluster)
        look_all(old)

        new.apply([word(4, "RESET")])
        look_all(new, old)

        assert (new.cluster.state, old.cluster.state) == (State.CLOSED, State.CLOSED)


def test_what_is_shared_can_be_read_from_outside(empty_redis_url: str) -> None:
    with boards(empty_redis_url, 1) as (board,), connect(empty_redis_url) as redis:
        board.topic("logs").record(0, 5, 0, "_TRANSPORT")
        look_all(board)

        cluster, logs = standings(redis)

        assert (cluster.topic, cluster.state) == ("", State.CLOSED)
        assert (logs.topic, logs.state, logs.epoch) == ("logs", State.OPEN, 1)
        assert logs.cause == "5 of the last 5 calls failed, the last with _TRANSPORT"
        assert abs(logs.since_wall_ms / 1000 - time.time()) < 60


def test_an_idle_board_asks_redis_one_thing_a_look(own_redis: RedisServer) -> None:
    with boards(own_redis.url, 1) as (board,), connect(own_redis.url) as redis:
        open_it(board.topic("logs"))
        look_all(board, rounds=3)
        redis.config_resetstat()

        look_all(board, rounds=10)

        calls = {name: stat["calls"] for name, stat in redis.info("commandstats").items()}
        assert calls.pop("cmdstat_get") == 10
        assert not {name for name in calls if "evalsha" in name or "hgetall" in name}


# --- Redis goes and comes --------------------------------------------------------------------------------------------
def test_while_redis_is_away_each_process_opens_and_has_one_trial(own_redis: RedisServer) -> None:
    with boards(own_redis.url, 2, LIMITS) as (first, second):
        look_all(first, second)
        own_redis.kill()

        for board in (first, second):
            open_it(board.cluster)
        taken = [count_trials(board) for board in (first, second)]

        assert taken == [1, 1]


def count_trials(board: BreakerBoard) -> int:
    """Trials taken until the first has been taken, and in fifty further looks."""
    taken = int(eventually(lambda: take(board)))
    return taken + sum(take(board) for _ in range(50))


def test_the_highest_epoch_wins_when_redis_is_back_and_nobody_flaps(own_redis: RedisServer) -> None:
    with boards(own_redis.url, 2) as (first, second), connect(own_redis.url) as redis:
        open_it(first.cluster)
        look_all(first, second)
        own_redis.kill()
        first.cluster.end_open_early("the test says so")
        first.cluster.obey(1, "RESET", "operator", "it is well")

        own_redis.start()
        seen = [look_and_tell(first, second) for _ in range(5)]

        assert seen[1:] == [[State.CLOSED, State.CLOSED]] * 4
        assert first.cluster.epoch == second.cluster.epoch == 3
        assert standings(redis)[0].state is State.CLOSED


def test_a_redis_that_forgot_everything_is_told_again(own_redis: RedisServer) -> None:
    with boards(own_redis.url, 2) as (first, second), connect(own_redis.url) as redis:
        open_it(first.topic("logs"))
        look_all(first)
        redis.flushall()

        look_all(first)
        second.topic("logs")
        look_all(second)

        assert second.topic("logs").state is State.OPEN


def test_a_hanging_redis_makes_nobody_wait_but_the_board(own_redis: RedisServer) -> None:
    with connect(own_redis.url) as redis:
        board = BreakerBoard(redis, "worker-1", LIMITS)
        board.start()
        own_redis.freeze()
        open_it(board.cluster)
        slowest_s = 0.0

        def taken() -> bool:
            nonlocal slowest_s
            begun_s = time.monotonic()
            took = board.cluster.take_trial()
            slowest_s = max(slowest_s, time.monotonic() - begun_s)
            return took

        tried = eventually(taken)
        board.cluster.record(1, 0, board.cluster.epoch)
        closed = eventually(lambda: board.cluster.state is State.CLOSED)
        own_redis.thaw()
        shared = eventually(lambda: standings_or_none(redis) is State.CLOSED)
        board.stop()

    assert (tried, closed, shared) == (True, True, True)
    assert slowest_s < 0.2  # a look that waits for Redis takes 0.25 s


def standings_or_none(redis: Redis) -> State | None:
    """Where the cluster stands for all, once it has moved at all."""
    cluster = standings(redis)[0]
    return cluster.state if cluster.epoch else None


# --- the probe -------------------------------------------------------------------------------------------------------
def test_a_broker_that_answers_names_what_can_be_written_to(kafka_bootstrap: str) -> None:
    probe = BrokerProbe({"bootstrap.servers": kafka_bootstrap})

    assert eventually(lambda: probe() is not None)


def test_nobody_who_answers_is_no_answer() -> None:
    probe = BrokerProbe({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})

    assert probe() is None


def test_the_boards_thread_lives_as_long_as_it_is_wanted(empty_redis_url: str) -> None:
    before = set(threading.enumerate())
    with connect(empty_redis_url) as redis:
        board = BreakerBoard(redis, "worker-1", LIMITS)
        board.start()
        open_it(board.cluster)

        half = eventually(lambda: board.cluster.state is State.HALF_OPEN)
        board.stop()

    assert half
    assert "breakers" not in {thread.name for thread in set(threading.enumerate()) - before}
