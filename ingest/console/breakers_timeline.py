"""A breaker's states over time as bars of SVG: how high a bar is says as much as its colour. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ingest.console.breakers_moves import Move
from ingest.dataplane.breaker import State

WIDTH, HEIGHT = 600, 20
# As many as a screen can show: of what happens within one of them the worst state is drawn.
SLOTS = 200
_SAID_MOVES = 6
_WORST_LAST = (State.CLOSED, State.DISABLED, State.HALF_OPEN, State.OPEN, State.FORCED_OPEN)
_HEIGHTS = {State.CLOSED: 4, State.DISABLED: 10, State.HALF_OPEN: 10, State.OPEN: HEIGHT, State.FORCED_OPEN: HEIGHT}


class Bar(NamedTuple):
    """A stretch of one state."""

    state: str
    x: float
    y: int
    width: float
    height: int


class Timeline(NamedTuple):
    """What the template needs of one breaker, with a sentence for those who cannot see it."""

    topic: str
    bars: Sequence[Bar]
    sentence: str
    width: int = WIDTH
    height: int = HEIGHT


def timeline(topic: str, moves: Sequence[Move], now: State, begins: datetime, ends: datetime) -> Timeline:
    """`moves` are those of this breaker since `begins`, oldest first; without any it was as it is now all the time."""
    states = [State(moves[0].old), *(State(move.new) for move in moves)] if moves else [now]
    times = [begins, *(move.at for move in moves), ends]
    slots: list[list[State]] = [[] for _ in range(SLOTS)]
    for at, state in enumerate(states):
        first, last = (_slot(time, begins, ends) for time in (times[at], times[at + 1]))
        for slot in slots[first : last + 1]:
            slot.append(state)
    worst = [max(slot, key=_WORST_LAST.index) for slot in slots]
    return Timeline(topic, _bars(worst), _sentence(topic, moves, states[-1], begins))


def _slot(at: datetime, begins: datetime, ends: datetime) -> int:
    share = (at - begins) / (ends - begins)
    return min(int(max(share, 0.0) * SLOTS), SLOTS - 1)


def _bars(slots: Sequence[State]) -> list[Bar]:
    bars, begin = [], 0
    for at in range(1, len(slots) + 1):
        if at == len(slots) or slots[at] is not slots[begin]:
            height, step = _HEIGHTS[slots[begin]], WIDTH / SLOTS
            bars.append(Bar(slots[begin].value, begin * step, HEIGHT - height, (at - begin) * step, height))
            begin = at
    return bars


def _sentence(topic: str, moves: Sequence[Move], now: State, begins: datetime) -> str:
    whose = f"Topic {topic}" if topic else "The cluster"
    if not moves:
        return f"{whose} has been {now} since before {_clock(begins)}."
    said = ", ".join(f"{move.new} at {_clock(move.at)}" for move in moves[-_SAID_MOVES:])
    before = f"{len(moves) - _SAID_MOVES} moves, then " if len(moves) > _SAID_MOVES else ""
    return f"{whose} was {moves[0].old} at {_clock(begins)}; {before}{said}."


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}"


def span_of(name: str | None) -> tuple[str, timedelta]:
    """What a page was asked to show: an hour, unless it is a day."""
    return ("day", timedelta(days=1)) if name == "day" else ("hour", timedelta(hours=1))
