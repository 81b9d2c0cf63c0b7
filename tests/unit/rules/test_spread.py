"""How far a version has come is what the workers say, and how long it took is told where it was seen."""

from datetime import UTC, datetime

from ingest.console.rules_spread import spread_of
from ingest.heartbeats import WorkerStatus
from ingest.models import RuleSet

PUBLISHED_S = 1_900_000_000.0


def published() -> RuleSet:
    return RuleSet(number=7, at=datetime.fromtimestamp(PUBLISHED_S, UTC))


def worker(pid: int, version: int | None, *, taken_after_s: float = 0.5, began_after_s: float = -60) -> WorkerStatus:
    return WorkerStatus(
        node="n1",
        pid=pid,
        started_wall_s=PUBLISHED_S + began_after_s,
        seen_wall_s=PUBLISHED_S + 60,
        rules_version=version,
        rules_taken_wall_s=PUBLISHED_S + taken_after_s,
    )


def test_it_is_whole_when_every_worker_has_it_and_took_as_long_as_the_last() -> None:
    spread = spread_of([worker(1, 7, taken_after_s=0.25), worker(2, 7, taken_after_s=0.75)], published())

    assert (spread.have_it, spread.is_whole, spread.slowest_s) == (2, True, 0.75)


def test_a_worker_that_still_has_an_older_one_is_waited_for() -> None:
    spread = spread_of([worker(1, 7), worker(2, 6)], published())

    assert (spread.have_it, spread.is_whole) == (1, False)
    assert [(one.name, one.version, one.after_s) for one in spread.workers] == [("n1/1", 7, 0.5), ("n1/2", 6, None)]


def test_a_worker_that_began_later_says_nothing_of_how_long_it_took() -> None:
    spread = spread_of([worker(1, 7, began_after_s=3_600, taken_after_s=3_601)], published())

    assert (spread.is_whole, spread.slowest_s) == (True, None)


def test_no_worker_is_not_every_worker() -> None:
    assert not spread_of([], published()).is_whole


def test_a_clock_that_is_behind_shows_no_time_before_the_publication() -> None:
    assert spread_of([worker(1, 7, taken_after_s=-0.2)], published()).slowest_s == 0.0


def test_a_worker_of_an_earlier_release_has_no_version() -> None:
    older = WorkerStatus(node="n1", pid=1, started_wall_s=0, seen_wall_s=0)

    assert spread_of([older], published()).have_it == 0
