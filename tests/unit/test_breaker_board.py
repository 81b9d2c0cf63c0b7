"""A board without Redis: which breakers there are, whom they obey, and when a probe ends OPEN early. Injected clock."""

import pytest
from prometheus_client import REGISTRY

from ingest.breaker_board import BreakerBoard
from ingest.breaker_store import field_of, topic_of
from ingest.dataplane.breaker import Breaker, BreakerLimits, State
from ingest.dataplane.policy import OverridePolicy

LIMITS = BreakerLimits()


class Clock:
    """Monotonic seconds that only a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> BreakerBoard:
    return BreakerBoard(None, "worker-1", LIMITS, now_s=clock)


def open_it(breaker: Breaker) -> None:
    breaker.record(0, 5, breaker.epoch)


def word(number: int, kind: str, topic: str = "", tenant: str = "") -> OverridePolicy:
    return OverridePolicy(number, kind, topic, tenant, "operator", "they know why", 0)


def test_a_topic_has_one_breaker_of_its_own(board: BreakerBoard) -> None:
    open_it(board.topic("logs"))

    assert board.topic("logs").state is State.OPEN
    assert (board.topic("payments").state, board.cluster.state) == (State.CLOSED, State.CLOSED)


def test_alone_a_board_opens_tries_once_and_closes(board: BreakerBoard, clock: Clock) -> None:
    breaker = board.topic("logs")
    open_it(breaker)
    clock.now_s += LIMITS.open_s
    board.look()
    board.look()

    taken = [breaker.take_trial() for _ in range(10)]
    breaker.record(1, 0, breaker.epoch)
    board.look()

    assert taken.count(True) == 1
    assert breaker.state is State.CLOSED


def test_an_operators_word_reaches_a_breaker_that_is_made_later(board: BreakerBoard) -> None:
    board.apply([word(1, "FORCED_OPEN", "logs"), word(2, "DISABLED")])

    assert (board.topic("logs").state, board.cluster.state) == (State.FORCED_OPEN, State.DISABLED)


def test_the_same_snapshot_again_does_not_reset_again(board: BreakerBoard) -> None:
    board.apply([word(3, "RESET", "logs")])
    open_it(board.topic("logs"))

    board.apply([word(3, "RESET", "logs")])
    again = board.topic("logs").state
    board.apply([word(4, "RESET", "logs")])

    assert (again, board.topic("logs").state) == (State.OPEN, State.CLOSED)


def test_a_parked_tenant_does_not_touch_the_topics_breaker(board: BreakerBoard) -> None:
    board.apply([word(1, "PARKED", "logs", "acme")])

    assert board.topic("logs").state is State.CLOSED


def test_a_probe_ends_open_early_for_what_can_be_written_to(board: BreakerBoard, clock: Clock) -> None:
    for breaker in (board.cluster, board.topic("logs"), board.topic("payments")):
        open_it(breaker)
    clock.now_s += 6.0

    board.ask(lambda: {"logs"})

    assert (board.cluster.state, board.topic("logs").state) == (State.HALF_OPEN, State.HALF_OPEN)
    assert board.topic("payments").state is State.OPEN


def test_a_probe_that_nobody_answers_changes_nothing(board: BreakerBoard, clock: Clock) -> None:
    open_it(board.cluster)
    clock.now_s += 6.0

    board.ask(lambda: None)

    assert board.cluster.state is State.OPEN


@pytest.mark.parametrize(("open_for_s", "state"), [(1.0, State.OPEN), (None, State.CLOSED)])
def test_nobody_is_probed_for_what_is_closed_or_has_only_just_opened(
    board: BreakerBoard, clock: Clock, open_for_s: float | None, state: State
) -> None:
    asked: list[bool] = []
    if open_for_s is not None:
        open_it(board.cluster)
        clock.now_s += open_for_s

    board.ask(lambda: asked.append(True))

    assert (asked, board.cluster.state) == ([], state)


def test_moves_are_told_and_shown(clock: Clock) -> None:
    told: list[tuple[str, State, State]] = []
    board = BreakerBoard(
        None, "worker-1", LIMITS, now_s=clock, on_transition=lambda it, old, new, _: told.append((it.topic, old, new))
    )

    open_it(board.topic("shown"))

    assert told == [("shown", State.CLOSED, State.OPEN)]
    assert REGISTRY.get_sample_value("forebay_breaker_state", {"topic": "shown"}) == 3
    assert REGISTRY.get_sample_value("forebay_breaker_transitions_total", {"topic": "shown", "to": "OPEN"}) == 1


def test_the_status_begins_with_the_cluster(board: BreakerBoard, clock: Clock) -> None:
    open_it(board.topic("logs"))
    clock.now_s += 2.0

    cluster, logs = board.status()

    assert (cluster["topic"], cluster["state"]) == ("", "CLOSED")
    assert (logs["topic"], logs["state"], logs["since_s"]) == ("logs", "OPEN", 2.0)


@pytest.mark.parametrize("topic", ["", "cluster", "logs", "topic:logs"])
def test_no_topic_is_taken_for_the_cluster(topic: str) -> None:
    assert topic_of(field_of(topic).encode()) == topic
