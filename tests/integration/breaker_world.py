"""Boards of several workers on a real Redis, whose looks a test takes itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingest.breaker_board import BreakerBoard
from ingest.dataplane.breaker import Breaker, BreakerLimits, State
from ingest.dataplane.policy import OverridePolicy

LIMITS = BreakerLimits(open_s=0.5)
PATIENT = BreakerLimits(open_s=3_600.0)
DEADLINE_S = 30.0


def connect(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0))


def eventually(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> bool:
    until_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def open_it(breaker: Breaker) -> None:
    breaker.record(0, 5, breaker.epoch)


def word(number: int, kind: str, topic: str = "") -> OverridePolicy:
    return OverridePolicy(number, kind, topic, "", "operator", "they know why", 0)


@contextmanager
def boards(url: str, count: int, limits: BreakerLimits = PATIENT) -> Iterator[list[BreakerBoard]]:
    """As many workers as asked for; the test takes their looks, so that nothing happens unseen."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(count)]
        yield [BreakerBoard(client, f"worker-{at}", limits) for at, client in enumerate(clients)]


def look_all(*all_boards: BreakerBoard, rounds: int = 2) -> None:
    for _ in range(rounds):
        for board in all_boards:
            board.look()


def half_open(*all_boards: BreakerBoard) -> list[Breaker]:
    """Their clusters' breakers, HALF_OPEN in one epoch."""
    open_it(all_boards[0].cluster)
    look_all(*all_boards)
    all_boards[0].cluster.end_open_early("the test says so")
    look_all(*all_boards)
    return [board.cluster for board in all_boards]


def take(board: BreakerBoard) -> bool:
    """As a request or the drain does: asks, and again when the board has looked."""
    if board.cluster.take_trial():
        return True
    board.look()
    return board.cluster.take_trial()


def look_and_tell(*all_boards: BreakerBoard) -> list[State]:
    look_all(*all_boards, rounds=1)
    return [board.cluster.state for board in all_boards]
