"""What a worker tells of its breakers: the worst first, with their windows and what failed last."""

from ingest.breaker_reports import TOLD_BREAKERS, breakers_report
from ingest.dataplane.breaker import FAILURES_KEPT, Breaker, BreakerLimits, State
from tests.unit.tenants.quota_world import FakeClock

NOW_WALL_MS = 1_900_000_000_000


def breaker(topic: str = "", clock: FakeClock | None = None) -> Breaker:
    return Breaker(topic, BreakerLimits(), clock or FakeClock())


def test_a_window_says_how_many_of_the_last_calls_are_known_and_failed_and_with_what() -> None:
    clock = FakeClock()
    one = breaker("logs", clock)
    one.record(4, 2, 0, "_TRANSPORT")
    clock.advance(3)

    (told,) = breakers_report([one], NOW_WALL_MS).breakers

    assert (told.topic, told.state, told.known, told.failed) == ("logs", State.CLOSED, 6, 2)
    assert [(failure.at_wall_ms, failure.calls, failure.why) for failure in told.failures] == [
        (NOW_WALL_MS - 3_000, 2, "_TRANSPORT")
    ]


def test_what_opened_a_breaker_is_still_told_when_its_window_is_empty() -> None:
    clock = FakeClock()
    one = breaker(clock=clock)
    one.record(0, 5, 0, "_ALL_BROKERS_DOWN")
    clock.advance(7)

    (told,) = breakers_report([one], NOW_WALL_MS).breakers

    assert (told.state, told.since_wall_ms, told.known) == (State.OPEN, NOW_WALL_MS - 7_000, 0)
    assert told.failures[0].why == "_ALL_BROKERS_DOWN"


def test_only_the_last_failures_are_kept_newest_first() -> None:
    one = breaker()
    one.obey(1, "DISABLED", "operator", "brokers are moved")
    for number in range(FAILURES_KEPT + 2):
        one.record(0, 1, 1, f"code {number}")

    (told,) = breakers_report([one], NOW_WALL_MS).breakers

    assert [failure.why for failure in told.failures] == [f"code {number}" for number in (6, 5, 4, 3, 2)]


def test_a_failure_of_before_the_last_move_is_not_told() -> None:
    one = breaker()
    one.obey(1, "FORCED_OPEN", "operator", "brokers are moved")

    one.record(0, 3, 0, "_TRANSPORT")

    assert one.window().failures == ()


def test_the_clusters_breaker_comes_first_and_what_is_left_out_is_closed() -> None:
    topics = [breaker(f"topic-{number:03}") for number in range(TOLD_BREAKERS + 50)]
    topics[-1].record(0, 5, 0)

    told = breakers_report([*topics, breaker()], NOW_WALL_MS)

    assert [one.topic for one in told.breakers[:3]] == ["", topics[-1].topic, "topic-000"]
    assert len(told.breakers) == TOLD_BREAKERS
    assert told.of("topic-140") is None
