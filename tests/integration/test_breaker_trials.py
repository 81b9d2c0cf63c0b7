"""HALF_OPEN in several processes on a real Redis: exactly the permitted trials, and what their ends decide together."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import pytest

from ingest.breaker_board import BreakerBoard
from ingest.dataplane.breaker import BreakerLimits, State
from tests.integration.breaker_world import (
    PATIENT,
    boards,
    connect,
    eventually,
    half_open,
    look_all,
    look_and_tell,
    open_it,
    take,
)

PROCESSES = 3
TAKERS = 50


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ((True, True, True), State.CLOSED),
        ((True, True, False), State.CLOSED),
        ((True, False, False), State.OPEN),
        ((False, False, False), State.OPEN),
    ],
)
def test_three_trials_in_three_processes_decide_together(
    empty_redis_url: str, results: tuple[bool, ...], state: State
) -> None:
    with boards(empty_redis_url, 3) as workers:
        half_open(*workers)
        for board, succeeded in zip(workers, results, strict=True):
            assert take(board)
            board.cluster.record(int(succeeded), int(not succeeded), board.cluster.epoch)

        look_all(*workers)

        assert [board.cluster.state for board in workers] == [state] * 3


def test_a_permit_that_nobody_used_is_given_again(empty_redis_url: str) -> None:
    limits = BreakerLimits(open_s=3_600.0, trials=1, permit_s=0.2)
    with boards(empty_redis_url, 2, limits) as (idle, busy):
        half_open(idle, busy)
        idle.cluster.take_trial()
        idle.look()

        at_once = take(busy)
        given_again = eventually(lambda: take(busy))

        assert (at_once, given_again) == (False, True)


def test_a_trial_that_was_given_back_decides_nothing_and_another_worker_gets_it(empty_redis_url: str) -> None:
    limits = BreakerLimits(open_s=3_600.0, trials=1, trial_result_s=0.2)
    with boards(empty_redis_url, 2, limits) as (unlucky, lucky):
        half_open(unlucky, lucky)
        assert take(unlucky)
        unlucky.look()
        too_early = take(lucky)

        unlucky.cluster.give_back(1, unlucky.cluster.epoch)
        unlucky.look()
        time.sleep(0.3)  # longer than a trial may be silent
        taken = take(lucky)
        lucky.cluster.record(1, 0, lucky.cluster.epoch)
        look_all(lucky, unlucky)

        assert (too_early, taken) == (False, True)
        assert [board.cluster.state for board in (unlucky, lucky)] == [State.CLOSED] * 2
        assert lucky.cluster.cause == "0 of 1 trials failed"


def test_a_trial_whose_worker_died_has_failed(empty_redis_url: str) -> None:
    limits = BreakerLimits(open_s=3_600.0, trials=1, trial_result_s=0.2)
    with boards(empty_redis_url, 2, limits) as (dying, other):
        half_open(dying, other)
        assert take(dying)
        dying.look()

        decided = eventually(lambda: look_and_tell(other) == [State.OPEN])

        assert decided
        assert other.cluster.cause == "1 of 1 trials failed"


def test_where_nobody_has_more_to_try_with_the_trials_that_there_were_decide(empty_redis_url: str) -> None:
    limits = BreakerLimits(open_s=3_600.0, trial_result_s=0.2)
    with boards(empty_redis_url, 2, limits) as (busy, idle):
        half_open(busy, idle)
        assert take(busy)
        busy.cluster.record(1, 0, busy.cluster.epoch)
        busy.look()

        at_once = busy.cluster.state
        later = eventually(lambda: look_and_tell(busy, idle) == [State.CLOSED] * 2)

        assert (at_once, later) == (State.HALF_OPEN, True)


def knock(url: str, ready: Barrier, over: Barrier, taken: "Queue[int]") -> None:
    """One process whose requests all want to be the trial; none of them ever brings a result."""
    with connect(url) as redis:
        board = BreakerBoard(redis, multiprocessing.current_process().name, PATIENT)
        board.start()
        breaker = board.topic("logs")
        ready.wait(60)
        until_s = time.monotonic() + 3.0

        def knock_on() -> int:
            count = 0
            while time.monotonic() < until_s:
                count += breaker.take_trial()
                time.sleep(0.001)
            return count

        with ThreadPoolExecutor(TAKERS) as threads:
            taken.put(sum(thread.result() for thread in [threads.submit(knock_on) for _ in range(TAKERS)]))
        over.wait(60)
        board.stop()


def test_fifty_takers_in_three_processes_get_exactly_the_permitted_trials(empty_redis_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    ready, over, taken = context.Barrier(PROCESSES + 1), context.Barrier(PROCESSES + 1), context.Queue()
    with boards(empty_redis_url, 1) as (board,):
        open_it(board.topic("logs"))
        look_all(board)
        processes = [
            context.Process(target=knock, args=(empty_redis_url, ready, over, taken), daemon=True)
            for _ in range(PROCESSES)
        ]
        for process in processes:
            process.start()

        ready.wait(60)
        board.topic("logs").end_open_early("the test says so")
        look_all(board)
        counts = [taken.get(timeout=60) for _ in processes]
        over.wait(60)
        for process in processes:
            process.join(30)
        look_all(board)

    print(f"trials taken by process: {counts}")
    assert sum(counts) == PATIENT.trials
    assert board.topic("logs").state is State.HALF_OPEN
