"""Whose fault an error is decides what becomes of the record; what nobody knows is kept."""

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.faults import Fault, fault_of


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._FATAL,
        KafkaError._DESTROY,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.UNKNOWN,
        -12_345,
        99_999,
    ],
)
def test_the_clusters_faults_and_unknown_ones_keep_the_record(code: int) -> None:
    assert fault_of(code) is Fault.CLUSTER


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
    ],
)
def test_the_topics_faults_wait_for_the_topic(code: int) -> None:
    assert fault_of(code) is Fault.TOPIC


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
    ],
)
def test_the_records_faults_do_not_get_better(code: int) -> None:
    assert fault_of(code) is Fault.RECORD
