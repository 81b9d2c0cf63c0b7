"""Whose fault is it? Every error that a delivery report, an error event or `produce()` can bring, by who must act.

Data plane; pure. docs/faults.md is this table with words: when each comes and what becomes of the record. Codes are
held by name, for an older librdkafka may lack some.
"""

from enum import StrEnum
from typing import NamedTuple

from confluent_kafka import KafkaError


class Fault(StrEnum):
    """Whose fault a failed delivery is; also the `fault` label of the metric. All but RECORD keep it pending."""

    CLUSTER = "cluster"
    TOPIC = "topic"
    RECORD = "record"
    PURGED = "purged"
    """Nobody's: we called it back ourselves."""
    FATAL = "fatal"
    """Of this instance of librdkafka's producer, which must be replaced."""


class Counts(StrEnum):
    """Which breaker a failed call counts for. CLUSTER means it only while no topic succeeds, and the topic's else: one
    broker of three that is gone, or one partition without a leader, brings the same codes."""

    NOTHING = "nothing"
    TOPIC = "topic"
    CLUSTER = "cluster"


class Verdict(NamedTuple):
    """What the table says of one code."""

    fault: Fault
    counts: Counts


# What nobody has classified keeps the record, and must not stop other topics.
UNKNOWN = Verdict(Fault.CLUSTER, Counts.TOPIC)

_NAMES: dict[Verdict, str] = {
    # No broker, or none that answers, knows us or takes our requests.
    Verdict(Fault.CLUSTER, Counts.CLUSTER): """
        _TRANSPORT _ALL_BROKERS_DOWN _MSG_TIMED_OUT _TIMED_OUT _TIMED_OUT_QUEUE _RESOLVE _FAIL _CRIT_SYS_RESOURCE
        _SSL _AUTHENTICATION _UNSUPPORTED_FEATURE
        REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE NETWORK_EXCEPTION REBOOTSTRAP_REQUIRED
        COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR
        SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SECURITY_DISABLED
        CLUSTER_AUTHORIZATION_FAILED INVALID_REQUIRED_ACKS UNSUPPORTED_VERSION
        """,
    # One partition cannot be written to, or one broker fails with it; the others may be well.
    Verdict(Fault.CLUSTER, Counts.TOPIC): """
        NOT_LEADER_FOR_PARTITION LEADER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH
        NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND _ISR_INSUFF
        KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID
        UNKNOWN INVALID_REQUEST INVALID_CONFIG UNSUPPORTED_COMPRESSION_TYPE THROTTLING_QUOTA_EXCEEDED
        _BAD_MSG _UNDERFLOW _UNKNOWN_PROTOCOL
        """,
    # Something else went wrong and this record was near it, or librdkafka only asks for patience.
    Verdict(Fault.CLUSTER, Counts.NOTHING): """
        _INVALID_DIFFERENT_RECORD _QUEUE_FULL _RETRY _DESTROY_BROKER _NODE_UPDATE _UNKNOWN_BROKER _OUTDATED _WAIT_CACHE
        _WAIT_COORD _STATE _CONFLICT CONCURRENT_TRANSACTIONS TRANSACTION_ABORTABLE OPERATION_NOT_ATTEMPTED
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED INVALID_TRANSACTION_TIMEOUT
        """,
    Verdict(Fault.TOPIC, Counts.NOTHING): """
        UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC _UNKNOWN_PARTITION TOPIC_AUTHORIZATION_FAILED TOPIC_EXCEPTION
        POLICY_VIOLATION UNSUPPORTED_FOR_MESSAGE_FORMAT
        """,
    Verdict(Fault.RECORD, Counts.NOTHING): """
        MSG_SIZE_TOO_LARGE INVALID_MSG_SIZE RECORD_LIST_TOO_LARGE INVALID_TIMESTAMP INVALID_RECORD INVALID_MSG
        _INVALID_ARG
        """,
    Verdict(Fault.PURGED, Counts.NOTHING): "_PURGE_QUEUE _PURGE_INFLIGHT _DESTROY",
    Verdict(Fault.FATAL, Counts.NOTHING): """
        _FATAL _FENCED _GAPLESS_GUARANTEE _INCONSISTENT
        OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER UNKNOWN_PRODUCER_ID INVALID_PRODUCER_EPOCH
        PRODUCER_FENCED INVALID_PRODUCER_ID_MAPPING INVALID_TXN_STATE TRANSACTION_COORDINATOR_FENCED
        """,
}

VERDICTS: dict[str, Verdict] = {name: verdict for verdict, names in _NAMES.items() for name in names.split()}

_BY_CODE: dict[int, Verdict] = {
    getattr(KafkaError, name): verdict for name, verdict in VERDICTS.items() if hasattr(KafkaError, name)
}


def verdict_of(code: int) -> Verdict:
    """Whose fault an error code is and what it counts for. Whatever is not known is the cluster's: that keeps the
    record."""
    return _BY_CODE.get(code, UNKNOWN)


def fault_of(code: int) -> Fault:
    """Whose fault an error code is."""
    return verdict_of(code).fault
