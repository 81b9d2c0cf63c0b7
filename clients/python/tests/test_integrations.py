"""structlog, Django and Celery: the correlation id goes along, and events leave."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any

import celery
import django
import pytest
import structlog
from asgiref.sync import iscoroutinefunction
from celery.app.trace import build_tracer
from conftest import MakeClient
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from stub import Stub
from test_client import settled

import forebay_client.celery
from forebay_client import ForebayHandler, correlated, correlation_id
from forebay_client.django import correlation_id_middleware
from forebay_client.structlog import ForebayProcessor

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module", autouse=True)
def _django() -> None:
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"])
        django.setup()


# --- structlog: a processor is called with the logger, the method's name and the event's dictionary


def test_structlog_calls_it_in_its_chain(stub: Stub, make_client: MakeClient) -> None:
    client = make_client()
    logger = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            ForebayProcessor(client),
            structlog.processors.KeyValueRenderer(sort_keys=True),
        ],
    )

    with structlog.contextvars.bound_contextvars(shop="north"):
        rendered = logger.bind(order=17).error("card declined", cents=999)
    settled(client)

    (sent,) = stub.events
    assert (sent["message"], sent["level"]) == ("card declined", "error")
    assert sent["metadata"] == {"shop": "north", "order": 17, "cents": 999}
    assert rendered == "cents=999 event='card declined' level='error' order=17 shop='north'"


def test_a_structlog_event_is_sent_and_passes_unchanged(stub: Stub, make_client: MakeClient) -> None:
    client = make_client()
    event = {"event": "paid", "order": 17, "level": "warning", "timestamp": "2030-01-01", "stack": "Stack: here"}

    with correlated("order-17"):
        passed = ForebayProcessor(client)(None, "warning", event)
    settled(client)

    (sent,) = stub.events
    assert passed is event
    assert passed["order"] == 17
    assert (sent["message"], sent["level"], sent["metadata"]) == ("paid", "warning", {"order": 17})
    assert (sent["correlationId"], sent["stackTrace"]) == ("order-17", "Stack: here")


def test_a_structlog_exception_becomes_the_stack_trace(stub: Stub, make_client: MakeClient) -> None:
    client = make_client()
    process = ForebayProcessor(client)

    try:
        raise KeyError("card")
    except KeyError as error:
        process(None, "exception", {"event": "a", "exc_info": True})
        process(None, "error", {"event": "b", "exc_info": error})
        process(None, "error", {"event": "c", "exc_info": sys.exc_info(), "correlation_id": "its-own"})
        process(None, "error", {"event": "d", "exception": "formatted before: KeyError: 'card'"})
    settled(client)

    assert all("KeyError: 'card'" in event["stackTrace"] for event in stub.events)
    assert [event["level"] for event in stub.events] == ["ERROR", "error", "error", "error"]
    assert stub.events[2]["correlationId"] == "its-own"


def test_a_structlog_event_that_cannot_be_encoded_passes_too(stub: Stub, make_client: MakeClient) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError

    client = make_client()

    passed = ForebayProcessor(client)(None, "info", {"event": "m", "value": Unprintable()})

    assert passed["event"] == "m"
    assert settled(client).dropped == {"unencodable": 1}


# --- Django


def request(**headers: str) -> HttpRequest:
    made = HttpRequest()
    made.META = {f"HTTP_{name}": value for name, value in headers.items()}
    return made


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X_CORRELATION_ID": "order-17", "TRACEPARENT": TRACEPARENT}, "order-17"),
        ({"TRACEPARENT": TRACEPARENT}, "4bf92f3577b34da6a3ce929d0e0e4736"),
        ({"X_CORRELATION_ID": "two words", "TRACEPARENT": "nonsense"}, None),
        ({}, None),
    ],
    ids=["of the header", "of the trace", "neither is one", "none"],
)
def test_a_request_is_correlated_and_the_answer_says_so(headers: dict[str, str], expected: str | None) -> None:
    seen: list[str | None] = []

    def view(_: HttpRequest) -> HttpResponse:
        seen.append(correlation_id.get())
        return HttpResponse()

    response: Any = correlation_id_middleware(view)(request(**headers))

    assert seen == [response["X-Correlation-ID"]]
    assert expected is None or seen == [expected]
    assert len(seen[0] or "") >= 8
    assert correlation_id.get() is None


def test_asynchronous_requests_are_told_apart() -> None:
    async def view(_: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        return HttpResponse(correlation_id.get() or "")

    middleware: Any = correlation_id_middleware(view)

    async def main() -> list[HttpResponse]:
        return list(await asyncio.gather(*(middleware(request(X_CORRELATION_ID=f"order-{at}")) for at in range(10))))

    assert iscoroutinefunction(middleware)
    assert [response.content for response in asyncio.run(main())] == [f"order-{at}".encode() for at in range(10)]


# --- Celery


@pytest.fixture
def app(stub: Stub) -> Iterator[celery.Celery]:
    """With a broker in memory; its worker's loggers send to the stub."""
    made = celery.Celery("shop", broker="memory://", backend="cache+memory://")
    handler = ForebayHandler(stub.url, "k", source="worker", linger_s=0.02)
    forebay_client.celery.connect(handler)
    yield made
    handler.close()
    made.close()


def test_a_task_carries_the_correlation_id_of_whoever_sent_it(app: celery.Celery) -> None:
    seen: dict[str, str | None] = {}

    @app.task(name="see")  # type: ignore[untyped-decorator, unused-ignore]  # Celery ships no types
    def see(name: str) -> None:
        seen[name] = correlation_id.get()

    with correlated("order-17"):
        see.delay("correlated")
    see.delay("by itself")
    run_what_is_queued(app, 2)
    with correlated("caller"):
        see.apply(args=("called",))

    assert (seen["correlated"], seen["called"]) == ("order-17", "caller")
    assert seen["by itself"]
    assert seen["by itself"] != "order-17"
    assert correlation_id.get() is None


def run_what_is_queued(app: celery.Celery, count: int) -> None:
    """Takes messages from the broker and runs their tasks here, as a worker's process does."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        for _ in range(count):
            message = queue.get(timeout=10)
            headers = message.headers
            task = app.tasks[headers["task"]]
            body = message.decode()
            trace = build_tracer(task.name, task, app=app)
            trace(headers["id"], body[0], body[1], {**headers, "headers": headers, "is_eager": False})
            message.ack()


def test_the_workers_loggers_get_the_handler(app: celery.Celery) -> None:
    logger = logging.Logger("celery.task")  # noqa: LOG001 - it must not outlive the test

    celery.signals.after_setup_task_logger.send(sender=None, logger=logger)

    assert any(isinstance(handler, ForebayHandler) for handler in logger.handlers)
