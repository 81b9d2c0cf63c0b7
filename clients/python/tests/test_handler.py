"""The logging handler: what a record becomes, and that nothing of it reaches the application."""

from __future__ import annotations

import copy
import logging
import logging.config
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClient
from stub import REFUSED, Answer, Stub, poll_until
from test_client import settled

from forebay_client import Client, Event, ForebayHandler, correlated


class Logged:
    """A logger of the test's own, and what of it arrived."""

    def __init__(self, client: Client, stub: Stub) -> None:
        self.client, self._stub = client, stub
        self.logger = logging.Logger("shop.orders")  # noqa: LOG001 - it must not outlive the test
        self.logger.addHandler(ForebayHandler(client=client))

    def arrived(self) -> list[Any]:
        settled(self.client)
        return self._stub.events


@pytest.fixture
def logged(make_client: MakeClient, stub: Stub) -> Logged:
    return Logged(make_client(), stub)


def test_a_record_becomes_an_event_with_extra_caller_and_correlation_id(logged: Logged) -> None:
    with correlated("order-17"):
        logged.logger.warning("order %d %s", 17, "late", extra={"order": 17, "tags": ["a"]})

    (event,) = logged.arrived()

    metadata = event["metadata"]
    assert (event["source"], event["level"], event["message"]) == ("shop", "WARN", "order 17 late")
    assert event["correlationId"] == "order-17"
    assert (metadata["logger"], metadata["order"], metadata["tags"]) == ("shop.orders", 17, '["a"]')
    assert metadata["caller"].startswith("test_handler.py:")
    assert (metadata["thread"], type(metadata["pid"])) == ("MainThread", int)


def test_an_exception_becomes_the_stack_trace(logged: Logged) -> None:
    try:
        raise KeyError("card")
    except KeyError:
        logged.logger.exception("declined", stack_info=True)

    (event,) = logged.arrived()

    assert (event["message"], event["level"]) == ("declined", "ERROR")
    assert event["stackTrace"].startswith("Traceback (most recent call last)")
    assert "KeyError: 'card'\nStack (most recent call last)" in event["stackTrace"]


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (5, "TRACE"),
        (10, "DEBUG"),
        (15, "DEBUG"),
        (20, "INFO"),
        (25, "INFO"),
        (40, "ERROR"),
        (50, "FATAL"),
        (99, "FATAL"),
    ],
)
def test_any_level_has_one_that_forebay_knows(logged: Logged, number: int, level: str) -> None:
    logged.logger.log(number, "m")

    assert [event["level"] for event in logged.arrived()] == [level]


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


def test_what_cannot_be_encoded_raises_nothing_and_is_counted(
    logged: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    logged.logger.info("%s", Unprintable())
    logged.logger.info("%d", "no number")
    logged.logger.info("m", extra={"value": Unprintable()})
    logged.logger.info("fine")

    assert [event["message"] for event in logged.arrived()] == ["fine"]
    assert logged.client.counters().dropped == {"unencodable": 3}
    assert "no text for you" in capsys.readouterr().err


class Grows:
    """As any object of the application's: it may change after it was logged."""

    def __init__(self) -> None:
        self.lines = [1]

    def __str__(self) -> str:
        return str(self.lines)


def test_a_record_says_what_was_so_when_it_was_logged(make_client: MakeClient, stub: Stub) -> None:
    logged, order = Logged(make_client(linger_s=60), stub), Grows()

    logged.logger.info("%s", order, extra={"order": order, "lines": order.lines})
    order.lines.append(2)
    (event,) = logged.arrived()

    assert event["message"] == event["metadata"]["order"] == event["metadata"]["lines"] == "[1]"


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "among others"])
def test_a_record_with_fields_that_logging_does_not_make_is_counted_and_holds_up_no_other(
    logged: Logged, others: int
) -> None:
    for at in range(others):
        logged.logger.info("fine %d", at)
    logged.logger.handle(logging.makeLogRecord({"msg": "odd", "levelno": 20, "created": "yesterday"}))
    logged.logger.handle(logging.makeLogRecord({"msg": "odd", "levelno": 20, "created": "yesterday"}))

    assert [event["message"] for event in logged.arrived()] == [f"fine {at}" for at in range(others)]
    assert logged.client.counters().dropped == {"unencodable": 2}


def test_what_is_logged_goes_to_the_disk_and_from_there_to_forebay(
    make_client: MakeClient, stub: Stub, tmp_path: Path
) -> None:
    stub.otherwise = REFUSED
    logged = Logged(make_client(spool_dir=tmp_path), stub)
    logged.logger.handle(logging.makeLogRecord({"msg": "odd", "levelno": 20, "created": "yesterday"}))
    for at in range(300):
        logged.logger.info("number %d", at)
    assert poll_until(lambda: logged.client.counters().spool_events == 300)
    stub.asked.clear()
    stub.otherwise = Answer()

    messages = [event["message"] for event in logged.arrived()]

    assert list(dict.fromkeys(messages)) == [f"number {at}" for at in range(300)]
    assert logged.client.counters().dropped == {"unencodable": 1}


def test_what_was_logged_and_not_sent_at_the_end_is_on_the_disk(
    make_client: MakeClient, stub: Stub, tmp_path: Path
) -> None:
    logged = Logged(make_client(spool_dir=tmp_path, linger_s=60), stub)
    stub.otherwise = REFUSED
    logged.logger.handle(logging.makeLogRecord({"msg": "odd", "levelno": 20, "created": "yesterday"}))
    for at in range(10):
        logged.logger.info("number %d", at)

    logged.client.close(0)
    at_the_end = logged.client.counters()
    stub.asked.clear()
    stub.otherwise = Answer()
    successor = make_client(spool_dir=tmp_path)
    successor.send_nowait(Event("of the next process"))
    settled(successor)

    assert (at_the_end.spool_events, at_the_end.dropped) == (10, {"unencodable": 1})
    assert [event["message"] for event in stub.events] == [f"number {at}" for at in range(10)] + ["of the next process"]


def test_another_handlers_formatter_adds_nothing_to_the_metadata(logged: Logged) -> None:
    first = logging.StreamHandler()
    first.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logged.logger.handlers.insert(0, first)

    logged.logger.info("m")

    assert set(logged.arrived()[0]["metadata"]) == {"logger", "caller", "pid", "thread"}


def test_filters_of_the_handler_are_asked(logged: Logged) -> None:
    def mends(record: logging.LogRecord) -> Any:
        mended = copy.copy(record)
        mended.msg = "mended"
        return mended if record.levelno > logging.INFO else False

    (handler,) = logged.logger.handlers
    handler.addFilter(mends)

    logged.logger.info("not for Forebay")
    logged.logger.warning("as it was")

    # From Python 3.12 on a filter may give another record back.
    assert [event["message"] for event in logged.arrived()] == [
        "mended" if sys.version_info >= (3, 12) else "as it was"
    ]


def test_a_record_that_somebody_took_something_out_of_keeps_its_extra(logged: Logged) -> None:
    class Takes(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            del record.stack_info
            record.stack_info = None
            del record.relativeCreated
            return True

    logged.logger.addFilter(Takes())

    logged.logger.info("m", extra={"order": 17})

    assert set(logged.arrived()[0]["metadata"]) == {"logger", "caller", "pid", "thread", "order"}


def test_a_signal_handler_or_destructor_that_logs_while_a_record_is_put_does_not_deadlock(logged: Logged) -> None:
    class Logging:
        def __del__(self) -> None:
            logged.logger.info("from a destructor")

    buffer = logged.client.sender._buffer
    with buffer.changed:  # as in the middle of put()
        held = Logging()
        del held

    assert len(logged.arrived()) == 1


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back after the test."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_what_the_client_says_of_itself_is_not_sent(stub: Stub, make_client: MakeClient, root: logging.Logger) -> None:
    client = make_client()
    root.addHandler(ForebayHandler(client=client))
    stub.script = [REFUSED]

    root.warning("the application's")
    counters = settled(client)

    assert (counters.taken, counters.retries) == (1, 1)


def test_it_is_made_by_a_configuration(stub: Stub, root: logging.Logger) -> None:
    handler = {"class": "forebay_client.ForebayHandler", "url": stub.url, "key": "k", "source": "shop", "level": "INFO"}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"forebay": handler},
        "root": {"handlers": ["forebay"], "level": "DEBUG"},
    }

    logging.config.dictConfig(config)
    root.info("sent")
    root.debug("below its level")
    made = root.handlers[-1]
    made.flush()
    made.close()

    assert [event["message"] for event in stub.events] == ["sent"]
    assert isinstance(made, ForebayHandler)
    assert made.client.counters().accepted == 1


def test_a_server_that_hangs_makes_no_log_call_wait(stub: Stub, make_client: MakeClient) -> None:
    stub.otherwise = Answer(delay_s=30)
    logged = Logged(make_client(timeout_s=60), stub)
    done = threading.Event()

    def log_much() -> None:
        for at in range(2000):
            logged.logger.info("number %d", at)
        done.set()

    thread = threading.Thread(target=log_much)
    thread.start()

    stub.wait_for(1)
    assert done.wait(25)
    answered = logged.client.counters().accepted
    thread.join()
    assert answered < 2000


def test_a_flush_after_the_end_does_not_wait_for_a_spool_that_nobody_sends(
    stub: Stub, make_client: MakeClient, tmp_path: Path
) -> None:
    stub.otherwise = REFUSED
    logged = Logged(make_client(spool_dir=tmp_path, exit_timeout_s=60), stub)
    logged.logger.info("left for the next process")
    logged.client.close(0)

    began_s = time.monotonic()
    logged.logger.handlers[0].flush()  # as logging.shutdown() does, after the end of every client
    took_s = time.monotonic() - began_s

    assert logged.client.counters().spool_events == 1
    assert not logged.client.flush(0)
    assert took_s < 30
