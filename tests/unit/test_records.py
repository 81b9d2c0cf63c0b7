"""How a record is shown, and what is said when there is none; against librdkafka's own mock cluster."""

import json

import pytest
from confluent_kafka import Message, Producer

from ingest.records import CannotRead, Reader, as_json, as_text

METADATA_TIMEOUT_S = 10


class Cluster:
    """A mock cluster with one topic, and its producer."""

    def __init__(self) -> None:
        self.producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
        brokers = self.producer.list_topics("logs", timeout=METADATA_TIMEOUT_S).brokers.values()
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def send(self, *values: bytes, key: bytes | None = b"nginx") -> None:
        for value in values:
            self.producer.produce("logs", value, key=key, headers={"tenant": b"acme"})
        self.producer.flush()

    def read(self) -> list[Message]:
        reader = Reader(self.bootstrap, "logs")
        try:
            return list(reader.records(follow=False))
        finally:
            reader.close()


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


def test_every_record_up_to_the_end_is_read_once(cluster: Cluster) -> None:
    before = len(cluster.read())
    sent = [str(number).encode() for number in range(100)]

    cluster.send(*sent)

    assert [message.value() for message in cluster.read()][before:] == sent


def test_a_line_holds_partition_offset_key_headers_and_value(cluster: Cluster) -> None:
    cluster.send('{"message":"héllo"}'.encode())

    message = cluster.read()[-1]

    assert as_text(message).startswith(f"logs[{message.partition()}]@{message.offset()}  20")
    assert as_text(message).endswith('key=nginx  {tenant=acme}  {"message":"héllo"}')


def test_what_could_steer_a_terminal_is_escaped(cluster: Cluster) -> None:
    cluster.send(b"\x1b[2Jgone\xff")

    line = as_text(cluster.read()[-1])

    assert line.isprintable()
    assert line.endswith(r"\x1b[2Jgone\xff")


def test_json_keeps_bytes_that_are_no_text(cluster: Cluster) -> None:
    cluster.send(b"\xff\xfe")

    record = json.loads(as_json(cluster.read()[-1]))

    assert record["valueBase64"] == "//4="
    assert record["headers"] == [{"name": "tenant", "value": "acme"}]
    assert (record["topic"], record["key"]) == ("logs", "nginx")


def test_an_unknown_topic_is_said_and_does_not_come_into_being(cluster: Cluster) -> None:
    for _ in range(2):
        with pytest.raises(CannotRead, match=r"no topic orders at .*; topics: logs$"):
            Reader(cluster.bootstrap, "orders")


def test_an_absent_kafka_is_said_with_its_address() -> None:
    with pytest.raises(CannotRead, match=r"Kafka does not answer at 127\.0\.0\.1:1: "):
        Reader("127.0.0.1:1", "logs", metadata_timeout_s=0.2)
