"""Whose fault is it? Every error that a delivery report or `produce()` can bring, sorted by who must act on it.

Data plane; pure. The cluster's faults send a record back to pending, the topic's keep it pending until the topic is
mended, the record's will not get better by sending it again.
"""

from enum import StrEnum

from confluent_kafka import KafkaError


class Fault(StrEnum):
    """Whose fault a failed delivery is; also the `fault` label of the metric."""

    CLUSTER = "cluster"
    TOPIC = "topic"
    RECORD = "record"


_TOPIC = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_REQUIRED_ACKS,
}
_RECORD = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.INVALID_RECORD,
    KafkaError._BAD_MSG,
    KafkaError._INVALID_ARG,
}


def fault_of(code: int) -> Fault:
    """Whose fault an error code is. Whatever is not known to be the topic's or the record's is the cluster's: that
    keeps the record."""
    if code in _TOPIC:
        return Fault.TOPIC
    if code in _RECORD:
        return Fault.RECORD
    return Fault.CLUSTER
