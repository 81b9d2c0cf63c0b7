"""A sender that waits is told what Kafka said in time; how many may wait is bounded."""

import threading

from confluent_kafka import KafkaError
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.acks import AckBudget, Acknowledgements, Place, Result

REFUSED = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)


def place(offset: int) -> Place:
    return Place("logs", 0, offset)


@given(st.permutations(range(6)))
def test_a_wait_ends_with_the_last_report_in_whatever_order(order: list[int]) -> None:
    waiting = Acknowledgements(6)

    for index in order:
        assert not waiting.is_complete
        waiting.report(index, place(index))

    assert waiting.is_complete
    assert waiting.wait(60) == {index: place(index) for index in range(6)}


def test_a_wait_ends_at_its_timeout_with_what_there_is() -> None:
    waiting = Acknowledgements(2)
    waiting.report(1, place(7))

    assert waiting.wait(0) == {1: place(7)}


def test_a_report_from_another_thread_ends_the_wait() -> None:
    waiting = Acknowledgements(1)
    reporter = threading.Thread(target=waiting.report, args=(0, place(1)))

    reporter.start()
    results = waiting.wait(60)
    reporter.join()

    assert results == {0: place(1)}


def test_what_the_drain_will_send_is_not_waited_for() -> None:
    waiting = Acknowledgements(3)
    waiting.report(0, place(0))

    before = waiting.is_complete
    waiting.forgo(2)

    assert (before, waiting.is_complete) == (False, True)
    assert waiting.wait(60) == {0: place(0)}


def test_a_report_before_the_answer_is_told_and_a_later_one_is_not() -> None:
    waiting = Acknowledgements(2)
    waiting.report(0, REFUSED)
    told_before_the_answer, told_of_what_is_not_reported = waiting.tells(0), waiting.tells(1)
    waiting.wait(0)

    waiting.report(1, REFUSED)

    assert (told_before_the_answer, told_of_what_is_not_reported) == (True, False)
    assert waiting.tells(0)
    assert not waiting.tells(1)


def test_what_is_settled_as_told_is_always_in_the_answer() -> None:
    """The poll thread reports and asks in the very moment in which the request's own thread gives up."""
    for _ in range(300):
        waiting, told = Acknowledgements(2), list[bool]()
        barrier = threading.Barrier(2)

        def report(
            waiting: Acknowledgements = waiting, told: list[bool] = told, at: threading.Barrier = barrier
        ) -> None:
            at.wait()
            waiting.report(0, REFUSED)
            told.append(waiting.tells(0))

        poll = threading.Thread(target=report)
        poll.start()
        barrier.wait()
        answer: dict[int, Result] = waiting.wait(0)
        poll.join()

        assert told == [0 in answer] or (told == [False] and 0 not in answer)


# --- the budget ------------------------------------------------------------------------------------------------------
def test_a_quarter_of_the_threads_waits_for_one_tenant() -> None:
    budget = AckBudget(threads=64)

    taken = [budget.take("acme") for _ in range(20)]

    assert taken == [True] * 16 + [False] * 4


def test_half_of_the_threads_wait_in_all() -> None:
    budget = AckBudget(threads=64)

    taken = sum(budget.take(f"tenant-{number % 10}") for number in range(200))

    assert taken == 32


def test_who_is_done_makes_room() -> None:
    budget = AckBudget(threads=4)
    assert budget.take("acme")
    assert not budget.take("acme")

    budget.give_back("acme")

    assert budget.take("acme")
    assert budget.take("bolt")
    assert not budget.take("crux")


def test_the_smallest_worker_lets_one_wait() -> None:
    budget = AckBudget(threads=1)

    assert budget.take("acme")
    assert not budget.take("bolt")


@given(st.lists(st.tuples(st.sampled_from(["acme", "bolt", "crux"]), st.booleans()), max_size=60))
def test_the_bounds_hold_whoever_comes_and_goes(steps: list[tuple[str, bool]]) -> None:
    budget, waiting = AckBudget(threads=8), list[str]()

    for tenant, comes in steps:
        if comes:
            expected = len(waiting) < 4 and waiting.count(tenant) < 2
            assert budget.take(tenant) is expected
            waiting += [tenant] * expected
        elif tenant in waiting:
            budget.give_back(tenant)
            waiting.remove(tenant)
