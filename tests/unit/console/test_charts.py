"""Charts drawn as SVG: a scale that can be read, gaps where nothing was measured, a sentence for who cannot see it."""

import re

import pytest

from ingest.console.charts import HEIGHT, WIDTH, Times, chart

TIMES = Times("10:00", "11:00 UTC")


def path(*values: float | None) -> str:
    return chart("t", {"a": values}, TIMES).lines[0].path


@pytest.mark.parametrize(
    ("most", "top"), [(0.3, "0.5"), (1, "1"), (1.1, "2"), (4, "5"), (51, "100"), (100, "100"), (101, "200")]
)
def test_the_scale_ends_at_one_two_or_five_times_a_power_of_ten(most: float, top: str) -> None:
    assert chart("t", {"a": [most]}, TIMES).top == top


def test_all_series_share_the_scale() -> None:
    drawn = chart("t", {"low": [5, 5], "high": [10, 10]}, TIMES)

    low, high = (float(line.path.split()[1].removesuffix("h0")) for line in drawn.lines)
    assert low == pytest.approx(HEIGHT - (HEIGHT - 4) / 2)
    assert high == pytest.approx(4)


def test_the_line_spans_the_width_from_bottom_to_top() -> None:
    assert path(0, 1) == f"M0.0 {HEIGHT:.1f}h0 L{WIDTH:.1f} 4.0"


def test_a_gap_begins_a_new_stroke() -> None:
    assert re.findall(r"[ML]", path(1, 1, None, 1, 1)) == ["M", "L", "M", "L"]
    assert re.findall(r"[ML]", path(None, 1, None)) == ["M"]


def test_a_single_value_between_gaps_is_a_dot() -> None:
    assert path(None, 1, None).endswith("h0")


def test_the_latest_known_value_is_in_words_and_in_the_sentence() -> None:
    drawn = chart("Events", {"in": [1, 12_345.6, None], "out": [None]}, TIMES, unit=" /s")

    assert [line.latest for line in drawn.lines] == ["12,346 /s", "unknown"]
    assert drawn.sentence == (
        "Events from 10:00 to 11:00 UTC: now in 12,346 /s, out unknown; the scale ends at 20,000 /s."
    )


def test_nothing_measured_is_empty_and_zero_is_not() -> None:
    assert chart("t", {"a": [None, None]}, TIMES).is_empty
    assert not chart("t", {"a": [0]}, TIMES).is_empty
