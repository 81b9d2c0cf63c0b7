"""Charts as SVG, drawn here and not by a script, so that a page shows them under any policy and to any reader. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 600, 140
Values = Sequence[float | None]


class Line(NamedTuple):
    """One series: its name, the latest value in words, the path of its line."""

    name: str
    latest: str
    path: str


class Times(NamedTuple):
    """What the time axis is from and to, in words."""

    begins: str
    ends: str


class Chart(NamedTuple):
    """What the template needs: a title, the lines, the scale, and a sentence for those who cannot see it."""

    title: str
    lines: Sequence[Line]
    top: str
    times: Times
    sentence: str
    is_empty: bool
    width: int = WIDTH
    height: int = HEIGHT


def chart(title: str, series: dict[str, Values], times: Times, *, unit: str = "", least_top: float = 0) -> Chart:
    """All series on one scale from 0 to `least_top` or more. A None is a gap: nothing was measured there."""
    known = [value for values in series.values() for value in values if value is not None]
    top = _round_up(max([least_top, *known]))
    lines = [Line(name, _in_words(_last(values), unit), _path(values, top)) for name, values in series.items()]
    said = ", ".join(f"{line.name} {line.latest}" for line in lines)
    sentence = f"{title} from {times.begins} to {times.ends}: now {said}; the scale ends at {_in_words(top, unit)}."
    return Chart(title, lines, _in_words(top, unit), times, sentence, not known)


def _path(values: Values, top: float) -> str:
    """SVG path data; a gap begins a new stroke, which `h0` makes a dot where it is of one value."""
    step = WIDTH / max(1, len(values) - 1)
    drawn, is_pen_down = [], False
    for at, value in enumerate(values):
        if value is None:
            is_pen_down = False
            continue
        place = f"{at * step:.1f} {HEIGHT - value / top * (HEIGHT - 4):.1f}"
        drawn.append(f"L{place}" if is_pen_down else f"M{place}h0")
        is_pen_down = True
    return " ".join(drawn)


def _last(values: Values) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten, so that a scale can be read."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power < value:
        power *= 10
    while power / 10 >= value:
        power /= 10
    return next(step for step in (power / 5, power / 2, power) if step >= value)


def _in_words(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    number = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    return f"{number}{unit}"
