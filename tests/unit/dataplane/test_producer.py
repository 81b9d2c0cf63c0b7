"""The poll thread outlives whatever its callbacks run into: without it nothing would ever settle again."""

import json
import threading
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import REGISTRY

from ingest.dataplane.producer import EventProducer, producer_config
from tests.programs import poll_until

New = Callable[[Callable[[], None]], EventProducer]
NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


class Settling:
    """What is called between polls; fails the first time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("a defect")


def config() -> dict[str, object]:
    return producer_config(
        connection=NOBODY,
        batch_size_bytes=1_000,
        linger_ms=0,
        compression="none",
        queue_bytes=1 << 20,
        message_timeout_ms=1_000,
        message_max_bytes=1_000_000,
        statistics_interval_ms=0,
    )


@pytest.fixture
def new_producer() -> Iterator[New]:
    made: list[EventProducer] = []

    def new(between_polls: Callable[[], None]) -> EventProducer:
        made.append(EventProducer(config(), between_polls))
        return made[-1]

    yield new
    for producer in made:
        producer.close(1.0)


def statistics(tx_bytes: int) -> str:
    return json.dumps({"msg_size": 0, "msg_cnt": 0, "msg_max": 1, "tx_bytes": tx_bytes, "brokers": {}, "topics": {}})


def sent_bytes() -> float:
    return REGISTRY.get_sample_value("forebay_producer_sent_bytes_total") or 0.0


def test_a_total_that_falls_counts_nothing_and_ends_nothing(new_producer: New) -> None:
    producer, before = new_producer(lambda: None), sent_bytes()

    for tx_bytes in (1_000, 400, 500):
        producer._take_statistics(statistics(tx_bytes))

    assert sent_bytes() - before == 1_100


def test_polling_goes_on_after_what_is_called_between_polls_has_failed(
    new_producer: New, caplog: pytest.LogCaptureFixture
) -> None:
    settling = Settling()
    new_producer(settling).start()

    assert poll_until(lambda: settling.calls >= 3, 20)
    assert "a report failed" in caplog.text


def test_polling_goes_on_after_a_callback_has_failed(new_producer: New, caplog: pytest.LogCaptureFixture) -> None:
    settled = threading.Event()
    made = new_producer(lambda: settled.set() if "a callback" in caplog.text else None)

    def fail(error: object, message: object) -> None:
        raise RuntimeError("a callback")

    made.produce("logs", value=b"1", on_delivery=fail)
    made.start()

    assert settled.wait(20)
