"""Every recorded exchange gives the same answer and the same records, by the lane and by Django's own handler."""

import json
from collections.abc import Callable
from wsgiref.types import WSGIApplication

import pytest

from ingest.dataplane.segments import Record
from tests.contract.exchanges import Exchange, normalised, recorded, send

EXCHANGES = list(recorded())


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_a_recorded_request_is_answered_as_recorded(
    exchange: Exchange,
    way: WSGIApplication,
    peer: str,
    new_records: Callable[[], list[Record]],
) -> None:
    answer = send(way, exchange, peer)

    assert normalised(answer, peer) == exchange.answer
    records = [
        {"topic": topic, "partition": partition, "key": key.decode(), "value": normalised(json.loads(value), peer)}
        for topic, partition, key, value, _ in new_records()
    ]
    for record in records:
        assert record["value"].pop("receivedBy")
    assert records == exchange.records
