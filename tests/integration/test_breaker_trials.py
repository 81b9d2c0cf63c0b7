"""HALF_OPEN in several processes on a real Redis: exactly the permitted trials, and what their ends decide together."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from ingest.breaker_board import BreakerBoard
from ingest.dataplane.breaker import BreakerLimits, State
from ingest.dataplane.callers import Callers
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
from tests.unit.dataplane.pipeline_world import GOOD, World
from tests.unit.dataplane.world import DEFAULTS, key, snapshot, tenant

PROCESSES = 3
TAKERS = 50
REQUESTS_OF_A_TAKER, EVERY_S = 20, 0.15


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


class Worker(World):
    """A pipeline whose breakers are a board's, in front of a Kafka that never answers; each request has a tenant of its
    own, so that none of them is behind."""

    def __init__(self, root: Path, board: BreakerBoard) -> None:
        super().__init__(root, journal_bytes=1 << 20, cluster=board.cluster)
        self.breakers["logs"] = board.topic("logs")
        tenants = [tenant(f"tenant-{at}") for at in range(TAKERS * REQUESTS_OF_A_TAKER)]
        keys = [key(f"{one.name}-secret", one.name, at) for at, one in enumerate(tenants)]
        self.callers = Callers(snapshot(tenants, keys), DEFAULTS)

    def send(self, at: int) -> None:
        """Requests of fresh tenants, for a while."""
        for number in range(at, TAKERS * REQUESTS_OF_A_TAKER, TAKERS):
            self.accept(GOOD, f"tenant-{number}-secret")
            time.sleep(EVERY_S)


def send_requests(url: str, root: Path, ready: Barrier, over: Barrier, sent: "Queue[int]") -> None:
    """One process, to which many senders talk at once; says how many records it has handed to Kafka."""
    with connect(url) as redis:
        board = BreakerBoard(redis, multiprocessing.current_process().name, PATIENT)
        worker = Worker(root / multiprocessing.current_process().name, board)
        board.start()
        ready.wait(60)
        with ThreadPoolExecutor(TAKERS) as senders:
            list(senders.map(worker.send, range(TAKERS)))
        sent.put(len(worker.kafka.queue))
        over.wait(60)
        board.stop()


@pytest.mark.parametrize("topics", [("",), ("logs",), ("", "logs")], ids=["the cluster", "a topic", "both"])
def test_of_fifty_requests_at_once_in_three_processes_exactly_the_permitted_trials_leave(
    empty_redis_url: str, tmp_path: Path, topics: tuple[str, ...]
) -> None:
    context = multiprocessing.get_context("spawn")
    ready, over, sent = context.Barrier(PROCESSES + 1), context.Barrier(PROCESSES + 1), context.Queue()
    with boards(empty_redis_url, 1) as (board,):
        breakers = [board.topic(topic) if topic else board.cluster for topic in topics]
        for breaker in breakers:
            open_it(breaker)
        look_all(board)
        arguments = (empty_redis_url, tmp_path, ready, over, sent)
        processes = [context.Process(target=send_requests, args=arguments, daemon=True) for _ in range(PROCESSES)]
        for process in processes:
            process.start()

        ready.wait(60)
        for breaker in breakers:
            breaker.end_open_early("the test says so")
        look_all(board)
        counts = [sent.get(timeout=60) for _ in processes]
        over.wait(60)
        for process in processes:
            process.join(30)
        look_all(board)

    requests = PROCESSES * TAKERS * REQUESTS_OF_A_TAKER
    print(
        f"{requests} requests, {TAKERS} at once in each of {PROCESSES} processes; left as trials, by process: {counts}"
    )
    assert sum(counts) == PATIENT.trials
    assert [breaker.state for breaker in breakers] == [State.HALF_OPEN] * len(breakers)
