"""The three ways to send, both clients and the handler, as Kafka has them in the end."""

import asyncio
import json
import logging
from typing import Any

import pytest

from forebay_client import AsyncClient, Event, ForebayHandler, Place, Rejected, Rejection, Result, correlated
from tests.clients.conftest import Books, MakeClient, Serve, Served
from tests.consumer import Record, event_id
from tests.faults.conftest import wait_until_acknowledged


def place_of(record: Record) -> Place:
    return Place(record.topic, record.partition, record.offset)


def test_each_way_and_each_client_brings_its_events_to_kafka(serve: Serve, make_client: MakeClient) -> None:
    served = serve(environment={"FOREBAY_ACK_TIMEOUT_S": "30"})
    before = wait_until_acknowledged(served.node, served.key).accepted
    client, told = make_client(served), list[Result]()
    forgotten, awaited, called = ([Event(f"{way} {at}") for at in range(200)] for way in ("nowait", "ack", "callback"))
    alone = Event("alone", level="critical", metadata={"order": 17}, stack_trace="at 1\nat 2")

    first = client.send(alone)
    for event in forgotten:
        assert client.send_nowait(event)
    for event in called:
        client.send_callback(event, told.append)
    results = client.send_batch(awaited)
    assert client.flush(30)
    in_asyncio = asyncio.run(send_by_asyncio(served))

    acknowledged = [first, *results, *told, *in_asyncio]
    everything = [event.event_id for event in (*forgotten, *called)]
    waited_for = [result.event_id for result in acknowledged if result.event_id not in set(everything)]
    records = served.read([*everything, *waited_for])
    books = Books(everything, records, client.counters())
    places = {event_id(record): place_of(record) for record in records}

    assert (books.lost, books.duplicates, books.adds_up) == (set(), 0, True)
    assert len(records) == len(before) + 200 * 3 + 1 + 102
    assert {result.status for result in acknowledged} == {"Delivered"}
    assert all(result.place == places[result.event_id] for result in acknowledged)
    (value,) = (json.loads(record.value) for record in records if event_id(record) == alone.event_id)
    assert (value["level"], value["metadata"], value["stackTrace"]) == ("FATAL", {"order": 17}, "at 1\nat 2")


async def send_by_asyncio(served: Served) -> list[Result]:
    async with AsyncClient(served.node.url, served.key, source="shop") as client:
        told: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        client.send_callback(Event("told on the loop"), told.set_result)
        at_once = await asyncio.gather(*(client.send(Event(f"async {at}")) for at in range(100)))
        return [*at_once, *await client.send_batch([Event("async batch")]), await told]


def test_bad_events_are_told_one_by_one_and_the_good_ones_go_on(serve: Serve, make_client: MakeClient) -> None:
    served = serve()
    told: list[tuple[Any, Rejection]] = []
    client = make_client(
        served, compression="zstd", on_rejected=lambda event, why: told.append((event["message"], why))
    )
    events = [Event(f"number {at}", level="LOUD" if at % 100 == 7 else "INFO") for at in range(1000)]

    for event in events:
        client.send_nowait(event)
    assert client.flush(30)
    with pytest.raises(Rejected, match="unknown_level"):
        client.send(Event("m", level="LOUD"))

    good = [event.event_id for event in events if event.level == "INFO"]
    books = Books([event.event_id for event in events], served.read(good), client.counters())
    assert books.stored == set(good)
    assert (books.duplicates, books.adds_up) == (0, True)
    assert books.counters.rejected == {"unknown_level": 10}
    assert [(message, why.code) for message, why in told] == [
        (f"number {at}", "unknown_level") for at in range(7, 1000, 100)
    ]


def test_a_log_call_is_a_record_with_its_extra_exception_and_correlation_id(
    serve: Serve, make_client: MakeClient
) -> None:
    served = serve()
    handler = ForebayHandler(client=make_client(served))
    logger = logging.Logger("shop.orders")  # noqa: LOG001 - it must not outlive the test
    logger.addHandler(handler)

    with correlated("order-17"):
        try:
            raise KeyError("card")
        except KeyError:
            logger.exception("declined for %s", "Zoë", extra={"order": 17})
    handler.flush()

    (record,) = served.read_count(1)
    value = json.loads(record.value)
    assert (value["message"], value["level"], value["source"]) == ("declined for Zoë", "ERROR", "shop")
    assert (value["correlationId"], value["tenant"]) == ("order-17", "acme")
    assert (value["metadata"]["order"], value["metadata"]["logger"]) == (17, "shop.orders")
    assert value["stackTrace"].endswith("KeyError: 'card'")
