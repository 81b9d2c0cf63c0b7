"""Stack traces and other events of several lines: which lines belong together, and what ends the last."""

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from forebay_client.tail.grouping import Grouper, starts_unindented, starts_with
from forebay_client.tail.lines import ENCODINGS, Line, LineFramer
from tests.tail.world import World

JAVA = """\
2030-01-01 12:00:00 ERROR order 17 failed
java.lang.IllegalStateException: no stock
\tat com.example.Stock.take(Stock.java:17)
\tat com.example.Order.place(Order.java:4)
Caused by: java.io.IOException: gone
\t... 2 more
2030-01-01 12:00:01 INFO next order
"""
PYTHON = """\
2030-01-01 12:00:00 ERROR order 17 failed
Traceback (most recent call last):
  File "order.py", line 4, in place

ValueError: no stock
2030-01-01 12:00:01 INFO next order
"""
DATED = starts_with(r"^\d{4}-\d\d-\d\d ")


def grouped(text: str, grouper: Grouper) -> list[Line]:
    framer = LineFramer(0, ENCODINGS["utf-8"], max_line_bytes=100)
    return grouper.feed(framer.feed(text.encode())) + grouper.flush()


def test_indented_lines_and_causes_go_with_the_line_before() -> None:
    events = grouped(JAVA, Grouper(starts_unindented, max_lines=100, max_bytes=10_000))

    assert [event[2].count("\n") for event in events] == [0, 4, 0]
    assert events[1][2].startswith("java.lang.IllegalStateException")
    assert events[1][2].endswith("... 2 more")


def test_with_a_pattern_everything_up_to_the_next_start_is_one_event() -> None:
    events = grouped(PYTHON, Grouper(DATED, max_lines=100, max_bytes=10_000))

    trace, rest = PYTHON.split("\n2030-01-01 12:00:01")
    assert [event[2] for event in events] == [trace, f"2030-01-01 12:00:01{rest}".rstrip()]
    assert [event[:2] for event in events] == [(0, len(trace) + 1), (len(trace) + 1, len(PYTHON))]


def test_a_group_over_its_bounds_goes_on_in_another_event() -> None:
    lines = grouped("start\n" + " more\n" * 6, Grouper(starts_unindented, max_lines=3, max_bytes=10_000))
    signs = grouped("start\n" + " more\n" * 6, Grouper(starts_unindented, max_lines=100, max_bytes=12))

    assert [line[2] for line in lines] == ["start\n more\n more", " more\n more\n more", " more"]
    assert [line[2] for line in signs] == ["start\n more", " more\n more", " more\n more", " more"]


def test_a_line_that_is_told_in_parts_is_read_again_as_a_whole_with_its_group() -> None:
    events = grouped("start\n" + " " + "x" * 250 + "\nnext\n", Grouper(starts_unindented, max_lines=9, max_bytes=999))

    assert [event[1] for event in events] == [0, 0, 258, 263]
    assert [event[2][:6] for event in events] == ["start\n", "xxxxxx", "xxxxxx", "next"]


LINES = st.lists(st.sampled_from(["a\n", " b\n", "\tc\n", "\n", "d" * 30 + "\n", " " + "e" * 25 + "\n"]), max_size=25)


@given(LINES, st.lists(st.integers(0, 300), max_size=6), st.data())
def test_reading_again_from_any_accepted_event_gives_the_rest(
    lines: list[str], cuts: list[int], draw: st.DataObject
) -> None:
    data = "".join(lines).encode()

    def events(begin: int, edges: list[int]) -> list[Line]:
        framer = LineFramer(begin, ENCODINGS["utf-8"], max_line_bytes=16)
        grouper = Grouper(starts_unindented, max_lines=4, max_bytes=40)
        found: list[Line] = []
        marks = sorted({begin, len(data), *(edge for edge in edges if begin < edge < len(data))})
        for at, end in pairwise(marks):
            found += grouper.feed(framer.feed(data[at:end]))
        return found + grouper.feed(framer.finish()) + grouper.flush()

    whole = events(0, [])
    assert events(0, cuts) == whole
    if whole:
        resume = draw.draw(st.sampled_from(whole))[1]
        assert [event for event in events(resume, cuts) if event[2]] == [
            event for event in whole if event[0] >= resume and event[2]
        ]


def test_the_last_event_is_sent_when_nothing_has_followed_for_a_while(tmp_path: Path) -> None:
    world = World(tmp_path, multiline="indent", multiline_wait_s=2.0)
    world.write("failed\n at one\n")
    world.tailer()
    world.turn_for(1)
    world.write(" at two\n")
    world.turn_for(1)
    assert world.sink.messages == []

    world.turn_for(3)

    assert world.sink.messages == ["failed\n at one\n at two"]


def test_what_follows_later_is_an_event_of_its_own_and_stays_one_after_a_crash(tmp_path: Path) -> None:
    world = World(tmp_path, multiline="indent", multiline_wait_s=2.0, checkpoint_s=1000.0)
    world.write("failed\n at one\n")
    world.tailer()
    world.turn_for(5)
    world.write(" at two\n")
    world.turn_for(5)
    world.settle()  # begins again at what was in hand when the last cut was saved

    assert world.sink.messages == ["failed\n at one", " at two"]
    assert world.sink.copies == 1
    assert all(len(world.sink.ids_of(message)) == 1 for message in world.sink.messages)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([" more\n", "start\n", "wait", "half", "kill", "rotate"]), max_size=14))
def test_time_and_crashes_never_change_an_event_that_was_sent(steps: list[str]) -> None:
    """Each id has one text for ever, and the texts of all ids together are the files'."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), multiline="indent", checkpoint_s=1000.0, close_after_s=3.0, batch_events=2)
        written = ""
        for number, step in enumerate(["start\n", *steps]):
            if step in ("start\n", " more\n"):
                text = step.replace("\n", f" {number}\n")
                written += text
                world.write(text)
            elif step == "half":
                written += f"half {number}"
                world.write(f"half {number}")
            elif step == "kill":
                world.kill()
            elif step == "rotate" and world.log.exists():
                world.log.rename(world.logs / f"app.log.{number}")
            else:
                world._tailer or world.tailer()
                world.turn_for(4)
        world.settle()

        texts: dict[str, set[str]] = {}
        for event in world.sink.events:
            texts.setdefault(event["eventId"], set()).add(event["message"])
        assert [found for found in texts.values() if len(found) > 1] == []
        sent = "".join("".join(found) for found in texts.values()).replace("\n", "")
        assert sorted(sent) == sorted(written.replace("\n", ""))
