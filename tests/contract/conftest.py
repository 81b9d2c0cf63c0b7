"""One worker of the real kind in this process: its Kafka is librdkafka's mock cluster, its Redis is away."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.types import WSGIApplication

import pytest
from confluent_kafka import Producer
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from ingest.api.lane import Lane
from ingest.dataplane.segments import Record
from ingest.worker import Worker, worker
from tests.contract.cast import snapshot_blob
from tests.contract.listening import listening


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 3})
    metadata = cluster.list_topics("logs", timeout=10)
    (broker,) = metadata.brokers.values()
    var = tmp_path_factory.mktemp("contract")
    (var / "snapshot.msgpack").write_bytes(snapshot_blob(len(metadata.topics["logs"].partitions)))
    chosen = {
        "FOREBAY_KAFKA_BOOTSTRAP_SERVERS": f"{broker.host}:{broker.port}",
        "FOREBAY_REDIS_URL": "redis://127.0.0.1:1/0",
        "FOREBAY_SNAPSHOT_FILE": Path(var / "snapshot.msgpack"),
        "FOREBAY_JOURNAL_DIR": Path(var / "journal"),
        "FOREBAY_TRUSTED_PROXIES": ["10.0.0.0/8"],
    }
    before = {name: getattr(settings, name) for name in chosen}
    for name, value in chosen.items():
        setattr(settings, name, value)
    made = worker()
    for name, value in before.items():
        setattr(settings, name, value)
    yield made
    made.close()


@pytest.fixture(params=["lane", "django"])
def way(request: pytest.FixtureRequest, node: Worker) -> WSGIApplication:
    """The lane, as the server calls it; and Django's own handler with all of its middleware.

    No test here may touch the database: pytest-django refuses a query, and what a view raises is answered with 500.
    """
    django = get_wsgi_application()
    return Lane(django) if request.param == "lane" else django


_addresses = itertools.count(1)


@pytest.fixture
def peer() -> str:
    """An address that no other test sends from, so that none uses up another's limit."""
    number = next(_addresses)
    return f"198.18.{number >> 8}.{number & 255}"


@pytest.fixture
def new_records(node: Worker) -> Callable[[], list[Record]]:
    """What has come into the journal since the test began, in its order, read from the file."""
    segment = node.engine.journal._segments[-1]
    began = segment.size_bytes

    def read() -> list[Record]:
        entries = [entry for at, _, entry in segment.entries(segment.size_bytes) if at >= began]
        return [record for entry in entries for record in getattr(entry, "records", [])]

    return read


@pytest.fixture(scope="module")
def port(node: Worker) -> Iterator[int]:
    """Of a listener beside the worker."""
    with listening(node) as port:
        yield port
