"""What of librdkafka's repetitions reaches the log."""

import logging

from ingest.dataplane.librdkafka_log import QUIET_S, Thinned, thinned_logger


def line(text: str, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("librdkafka", level, __file__, 1, "%s", (text,), None)


def test_a_line_that_repeats_itself_is_told_once_in_a_while() -> None:
    now_s = [0.0]
    thinned = Thinned(lambda: now_s[0])

    told = []
    for now_s[0] in (0.0, 0.1, QUIET_S - 0.1, QUIET_S, QUIET_S + 0.1):
        told.append(thinned.filter(line("FAIL [forebay] Connection refused")))

    assert told == [True, False, False, True, False]


def test_lines_of_another_kind_or_level_are_told_at_once() -> None:
    thinned = Thinned(lambda: 0.0)

    told = [
        thinned.filter(line("FAIL [forebay] Connection refused")),
        thinned.filter(line("FAIL [forebay] Disconnected", logging.INFO)),
        thinned.filter(line("GETPID [forebay] Coordinator load in progress")),
    ]

    assert told == [True, True, True]


def test_a_logger_asked_for_twice_is_thinned_once() -> None:
    first, second = thinned_logger("tests.thinned"), thinned_logger("tests.thinned")

    assert first is second
    assert len(first.filters) == 1
