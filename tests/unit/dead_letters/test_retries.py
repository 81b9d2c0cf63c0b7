"""When a letter is tried again by itself, and when it is an operator's turn."""

from datetime import timedelta

import pytest

from ingest.dataplane.faults import Fault
from ingest.dead_letters.retries import RetryPolicy
from tests.unit.dead_letters.world import START

POLICY = RetryPolicy(base_s=30.0, max_s=3600.0, max_attempts=10, max_age_s=86_400)


def longest(low_s: float, high_s: float) -> float:
    return high_s


def pause_s(retries: int, *, age_s: float = 0.0, fault: str = Fault.CLUSTER) -> float | None:
    now = START + timedelta(seconds=age_s)
    due = POLICY.next_attempt_at(fault=fault, retries=retries, since=START, now=now, uniform=longest)
    return (due - now).total_seconds() if due else None


def test_the_longest_pause_doubles_up_to_its_bound() -> None:
    assert [pause_s(retries) for retries in range(9)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_the_pause_is_drawn_from_zero_up() -> None:
    drawn: list[tuple[float, float]] = []

    def note(low_s: float, high_s: float) -> float:
        drawn.append((low_s, high_s))
        return low_s

    due = POLICY.next_attempt_at(fault=Fault.TOPIC, retries=1, since=START, now=START, uniform=note)

    assert (due, drawn) == (START, [(0.0, 60.0)])


@pytest.mark.parametrize(
    ("retries", "age_s", "fault"), [(10, 0.0, Fault.TOPIC), (0, 86_400.0, Fault.CLUSTER), (0, 0.0, Fault.RECORD)]
)
def test_attempts_age_and_a_fault_of_the_record_make_it_an_operators_turn(
    retries: int, age_s: float, fault: str
) -> None:
    assert pause_s(retries, age_s=age_s, fault=fault) is None
