"""The client for asyncio: the same three ways, and no thread of the loop's is ever held."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable
from typing import Any, Callable

import pytest
from stub import Answer, Asked, Stub

from forebay_client import AsyncClient, Event, Place, Rejected, Result, Unacknowledged
from forebay_client.async_client import CONNECTIONS

Use = Callable[[AsyncClient], Awaitable[None]]


@pytest.fixture
def run(stub: Stub) -> Callable[..., None]:
    """Runs a coroutine with a client of the stub, and closes it."""

    def run(use: Use, **options: Any) -> None:
        async def main() -> None:
            async with AsyncClient(stub.url, "fb_key", source="shop", linger_s=0.02, **options) as client:
                await asyncio.wait_for(use(client), 60)

        asyncio.run(main())

    return run


def test_an_acknowledged_send_says_where_kafka_has_it(stub: Stub, run: Callable[..., None]) -> None:
    async def use(client: AsyncClient) -> None:
        event = Event("paid")
        assert await client.send(event) == Result(event.event_id, "Delivered", Place("t", 0, 0))

    run(use)

    assert stub.asked[0].path == "/api/logs/batch?delivery=ack"
    assert stub.asked[0].headers["authorization"] == "Bearer fb_key"


def test_many_sends_at_once_share_few_connections_and_each_has_its_result(stub: Stub, run: Callable[..., None]) -> None:
    async def use(client: AsyncClient) -> None:
        events = [Event(str(at)) for at in range(200)]
        results = await asyncio.gather(*map(client.send, events))
        assert [result.event_id for result in results] == [event.event_id for event in events]
        assert {result.status for result in results} == {"Delivered"}

    run(use)

    assert len(stub.events) == 200


def test_the_loop_goes_on_while_a_send_waits(stub: Stub, run: Callable[..., None]) -> None:
    stub.otherwise = Answer(delay_s=0.5)

    async def use(client: AsyncClient) -> None:
        sending, turns = asyncio.ensure_future(client.send(Event("m"))), 0
        while not sending.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert turns > 1

    run(use)


def test_refusals_and_broken_connections_are_tried_again_with_the_same_id(stub: Stub, run: Callable[..., None]) -> None:
    stub.script = [
        *(Answer(), Answer(close=True), Answer(close=True)),
        Answer(429, {"code": "quota_exceeded"}, {"Retry-After": "1"}),
    ]

    async def use(client: AsyncClient) -> None:
        await client.send(Event("first"))
        assert (await client.send(Event("second"))).status == "Delivered"

    run(use)

    assert len({asked.event_ids[0] for asked in stub.asked[1:]}) == 1
    assert stub.asked[-1].at_s - stub.asked[-2].at_s >= 1


def test_errors_are_the_same_as_the_other_clients(stub: Stub, run: Callable[..., None]) -> None:
    errors = [{"index": 0, "code": "unknown_level", "detail": "LOUD"}]
    stub.script = [Answer(400, {"code": "all_events_rejected", "errors": errors})]
    stub.otherwise = Answer(503, {"code": "journal_full"}, {"Retry-After": "30"})

    async def use(client: AsyncClient) -> None:
        with pytest.raises(Rejected, match="unknown_level"):
            await client.send(Event("m", level="LOUD"))
        began_s = time.monotonic()
        with pytest.raises(Unacknowledged, match="journal_full"):
            await client.send(Event("m"), timeout_s=2)
        assert time.monotonic() - began_s < 10

    run(use)


def test_a_send_does_not_wait_longer_than_it_was_told(stub: Stub, run: Callable[..., None]) -> None:
    stub.otherwise = Answer(delay_s=30)

    async def use(client: AsyncClient) -> None:
        began_s = time.monotonic()
        with pytest.raises(Unacknowledged, match="Timeout"):
            await client.send(Event("m"), timeout_s=0.5)
        assert time.monotonic() - began_s < 25

    run(use, timeout_s=60)


def test_a_sends_time_runs_while_it_waits_for_a_connection_too(stub: Stub, run: Callable[..., None]) -> None:
    released = threading.Event()

    def answer(asked: Asked) -> Answer:
        released.wait(60)
        return Answer()

    stub.answer = answer

    async def use(client: AsyncClient) -> None:
        holding = [asyncio.ensure_future(client.send(Event("holds a connection"))) for _ in range(CONNECTIONS)]
        while len(stub.asked) < CONNECTIONS:
            await asyncio.sleep(0.01)
        try:
            with pytest.raises(Unacknowledged, match="Timeout"):
                await client.send(Event("waits for one"), timeout_s=0.2)
            assert not any(task.done() for task in holding)
        finally:
            released.set()
        assert {result.status for result in await asyncio.gather(*holding)} == {"Delivered"}

    run(use)

    assert {event["message"] for event in stub.events} == {"holds a connection"}


def test_a_cancelled_send_leaves_no_answer_for_the_next(stub: Stub, run: Callable[..., None]) -> None:
    stub.script = [Answer(), Answer(delay_s=1)]

    async def use(client: AsyncClient) -> None:
        await client.send(Event("first"))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.send(Event("cancelled")), 0.1)
        event = Event("third")
        assert (await client.send(event)).event_id == event.event_id

    run(use)


def test_fire_and_forget_and_callbacks_go_by_the_sending_thread_and_are_told_on_the_loop(
    stub: Stub, run: Callable[..., None]
) -> None:
    async def use(client: AsyncClient) -> None:
        told: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        event = Event("with a callback")
        assert client.send_nowait(Event("forgotten"))
        client.send_callback(event, told.set_result)
        result = await told
        assert await client.flush(20)
        assert (result.event_id, result.status) == (event.event_id, "Delivered")
        assert client.counters().accepted == 2

    run(use)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'8\r\n{"accept\r\n13;x=y\r\ned":1,"failed":0}  \r\n0\r\n\r\n',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 25\r\n\r\n{"accepted":1,"failed":0}',
        b'HTTP/1.0 202 Accepted\r\n\r\n{"accepted":1,"failed":0}',
    ],
    ids=["chunked", "after 100 Continue", "until the connection ends"],
)
def test_an_answer_may_have_any_shape_that_http_allows(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1 << 16)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient(f"http://127.0.0.1:{port}", "k", source="s") as client:
            assert (await client.send(Event("m"), timeout_s=5)).status == "Accepted"
        server.close()

    asyncio.run(main())
