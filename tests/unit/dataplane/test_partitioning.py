"""Partitions are those that Kafka's Java clients choose, and errors have one of their own."""

from collections import Counter
from itertools import islice

import pytest
from confluent_kafka import Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.partitioning import key_hash, murmur2, round_robin, severity_first

# Input and result of Kafka's own test of its hash (org.apache.kafka.common.utils.UtilsTest, testMurmur2), as signed.
KAFKAS_OWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "hashed"), KAFKAS_OWN.items())
def test_the_hash_is_that_of_the_java_clients(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_librdkafka_chooses_the_same_partition() -> None:
    keys = [f"source-{number}".encode() for number in range(50)]
    chosen: dict[bytes, int] = {}
    producer = Producer(
        {"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "partitioner": "murmur2_random", "log_level": 3}
    )
    partitions = len(producer.list_topics("logs", timeout=10).topics["logs"].partitions)

    def note(error: object, message: Message) -> None:
        key, partition = message.key(), message.partition()
        assert isinstance(key, bytes)
        assert partition is not None
        chosen[key] = partition

    for key in keys:
        producer.produce("logs", b"v", key, on_delivery=note)
    producer.flush(10)

    assert partitions > 1
    assert chosen == {key: key_hash(key, partitions) for key in keys}


@given(st.binary(max_size=64), st.sampled_from(["ERROR", "FATAL"]), st.integers(1, 100))
def test_errors_have_the_priority_partition(key: bytes, level: str, partitions: int) -> None:
    assert severity_first(key, level, partitions) == 0


@given(st.binary(max_size=64), st.sampled_from(["TRACE", "DEBUG", "INFO", "WARN"]), st.integers(2, 100))
def test_the_rest_is_spread_over_the_others(key: bytes, level: str, partitions: int) -> None:
    chosen = severity_first(key, level, partitions)

    assert 1 <= chosen < partitions
    assert chosen == severity_first(key, "INFO", partitions)


def test_one_partition_takes_everything() -> None:
    assert severity_first(b"checkout", "INFO", 1) == 0


def test_a_thousand_sources_use_all_the_other_partitions_about_equally() -> None:
    chosen = Counter(severity_first(f"source-{number}".encode(), "INFO", 12) for number in range(11_000))

    assert sorted(chosen) == list(range(1, 12))
    assert min(chosen.values()) > 800


def test_round_robin_takes_every_partition_in_turn() -> None:
    assert list(islice(round_robin(3), 7)) == [0, 1, 2, 0, 1, 2, 0]
