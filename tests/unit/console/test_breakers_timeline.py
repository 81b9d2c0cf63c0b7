"""A breaker's states as bars: how long each held, and that what was short and bad is seen in a day too."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from ingest.console.breakers_moves import Move
from ingest.console.breakers_timeline import HEIGHT, WIDTH, Timeline, span_of, timeline
from ingest.dataplane.breaker import State

BEGINS = datetime(2030, 1, 1, 12, tzinfo=UTC)
ENDS = BEGINS + timedelta(hours=1)


def move(minute: float, old: str, new: str) -> Move:
    return Move("", old, new, BEGINS + timedelta(minutes=minute), "a cause", "", "node-1/1")


def drawn(*moves: Move, now: State = State.CLOSED) -> Timeline:
    return timeline("", moves, now, BEGINS, ENDS)


def test_a_breaker_that_did_not_move_is_one_bar_of_its_state() -> None:
    (bar,) = drawn(now=State.DISABLED).bars

    assert (bar.state, bar.x, bar.width) == ("DISABLED", 0, WIDTH)


def test_a_state_is_as_long_as_it_held_and_the_first_one_is_where_the_first_move_came_from() -> None:
    closed, opened, again = drawn(move(15, "CLOSED", "OPEN"), move(45, "OPEN", "CLOSED")).bars

    assert [bar.state for bar in (closed, opened, again)] == ["CLOSED", "OPEN", "CLOSED"]
    assert (closed.width, opened.x) == (WIDTH / 4, WIDTH / 4)
    assert abs(opened.width - WIDTH / 2) <= WIDTH / 200
    assert (opened.height, closed.height) == (HEIGHT, 4)


def test_what_was_open_for_a_second_is_seen() -> None:
    bars = drawn(move(30, "CLOSED", "OPEN"), move(30.01, "OPEN", "HALF_OPEN"), move(30.02, "HALF_OPEN", "CLOSED")).bars

    assert [bar.state for bar in bars] == ["CLOSED", "OPEN", "CLOSED"]


def test_ten_thousand_moves_are_no_more_bars_than_a_screen_has_room_for() -> None:
    names = ["CLOSED", "OPEN"] * 5_000

    bars = drawn(*(move(at / 200, old, new) for at, (old, new) in enumerate(pairwise(names)))).bars

    assert len(bars) <= 200


def test_who_cannot_see_it_is_told_when_it_moved() -> None:
    sentence = drawn(move(15, "CLOSED", "OPEN"), move(45, "OPEN", "CLOSED")).sentence

    assert sentence == "The cluster was CLOSED at 12:00:00; OPEN at 12:15:00, CLOSED at 12:45:00."
    assert drawn(now=State.FORCED_OPEN).sentence == "The cluster has been FORCED_OPEN since before 12:00:00."


def test_an_hour_is_shown_unless_a_day_is_asked_for() -> None:
    assert [span_of(asked)[0] for asked in (None, "week", "day")] == ["hour", "hour", "day"]
