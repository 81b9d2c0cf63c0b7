"""Whose fault an error is decides what becomes of the record; what nobody knows is kept; docs/faults.md names all."""

import re
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from ingest.dataplane.faults import VERDICTS, Counts, Fault, fault_of, verdict_of

TABLE = Path(__file__).resolve().parents[3] / "docs" / "faults.md"
ROW = re.compile(r"^\| (`[^|]+`) \|[^|]*\| (\w+)[^|]*\| (\w+)[^|]*\|", re.MULTILINE)

# Consumers, groups and their offsets, and what librdkafka says of serializers and of its own consumer.
_CONSUMERS = """
    _ASSIGNMENT_LOST _ASSIGN_PARTITIONS _AUTO_OFFSET_RESET _BAD_COMPRESSION _EXISTING_SUBSCRIPTION _FS
    _KEY_DESERIALIZATION _KEY_SERIALIZATION _LOG_TRUNCATION _MAX_POLL_EXCEEDED _NO_OFFSET _PARTITION_EOF
    _REVOKE_PARTITIONS _UNKNOWN_GROUP _VALUE_DESERIALIZATION _VALUE_SERIALIZATION
    FENCED_INSTANCE_ID FENCED_MEMBER_EPOCH FENCED_STATE_EPOCH FETCH_SESSION_ID_NOT_FOUND GROUP_AUTHORIZATION_FAILED
    GROUP_ID_NOT_FOUND GROUP_MAX_SIZE_REACHED GROUP_SUBSCRIBED_TO_TOPIC ILLEGAL_GENERATION INCONSISTENT_GROUP_PROTOCOL
    INVALID_COMMIT_OFFSET_SIZE INVALID_FETCH_SESSION_EPOCH INVALID_GROUP_ID INVALID_RECORD_STATE
    INVALID_REGULAR_EXPRESSION INVALID_SESSION_TIMEOUT INVALID_SHARE_SESSION_EPOCH MEMBER_ID_REQUIRED NON_EMPTY_GROUP
    OFFSET_METADATA_TOO_LARGE OFFSET_NOT_AVAILABLE OFFSET_OUT_OF_RANGE REBALANCE_IN_PROGRESS
    SHARE_SESSION_LIMIT_REACHED SHARE_SESSION_NOT_FOUND STALE_MEMBER_EPOCH STREAMS_INVALID_TOPOLOGY
    STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED UNKNOWN_MEMBER_ID UNRELEASED_INSTANCE_ID
    UNSTABLE_OFFSET_COMMIT UNSUPPORTED_ASSIGNOR
"""
# Requests of administrators, of brokers and controllers among themselves, and of telemetry.
_ADMINISTRATORS = """
    DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_EXPIRED
    DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DUPLICATE_RESOURCE
    DUPLICATE_VOTER ELECTION_NOT_NEEDED ELIGIBLE_LEADERS_NOT_AVAILABLE FEATURE_UPDATE_FAILED INCONSISTENT_VOTER_SET
    INVALID_PARTITIONS INVALID_PRINCIPAL_TYPE INVALID_REGISTRATION INVALID_REPLICATION_FACTOR
    INVALID_REPLICA_ASSIGNMENT INVALID_UPDATE_VERSION INVALID_VOTER_KEY LISTENER_NOT_FOUND MISMATCHED_ENDPOINT_TYPE
    NOT_CONTROLLER NO_REASSIGNMENT_IN_PROGRESS PREFERRED_LEADER_NOT_AVAILABLE PRINCIPAL_DESERIALIZATION_FAILURE
    REASSIGNMENT_IN_PROGRESS RESOURCE_NOT_FOUND STALE_BROKER_EPOCH STALE_CTRL_EPOCH TELEMETRY_TOO_LARGE
    TOPIC_ALREADY_EXISTS TOPIC_DELETION_DISABLED UNACCEPTABLE_CREDENTIAL UNKNOWN_CONTROLLER_ID UNKNOWN_SUBSCRIPTION_ID
    UNSUPPORTED_ENDPOINT_TYPE VOTER_NOT_FOUND
"""
# Answers of librdkafka's functions that a producer like ours does not call, and success.
_OTHER_CALLS = """
    NO_ERROR _APPLICATION _INTR _INVALID_TYPE _IN_PROGRESS _NOENT _NOOP _NOT_CONFIGURED _NOT_IMPLEMENTED _PARTIAL
    _PREV_IN_PROGRESS _READ_ONLY
"""
NEVER_A_PRODUCERS = {*_CONSUMERS.split(), *_ADMINISTRATORS.split(), *_OTHER_CALLS.split()}


def known_names() -> set[str]:
    return {name for name in dir(KafkaError) if name.isupper() and isinstance(getattr(KafkaError, name), int)}


def rows() -> dict[str, tuple[str, str]]:
    """Code to its fault and what it counts for, as the page says."""
    found = ROW.findall(TABLE.read_text())
    return {name: (fault, counts) for names, fault, counts in found for name in re.findall(r"`(\w+)`", names)}


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        (KafkaError._MSG_TIMED_OUT, Counts.CLUSTER),
        (KafkaError._TRANSPORT, Counts.CLUSTER),
        (KafkaError._ALL_BROKERS_DOWN, Counts.CLUSTER),
        (KafkaError._AUTHENTICATION, Counts.CLUSTER),
        (KafkaError.REQUEST_TIMED_OUT, Counts.CLUSTER),
        (KafkaError.COORDINATOR_NOT_AVAILABLE, Counts.CLUSTER),
        (KafkaError.NOT_LEADER_FOR_PARTITION, Counts.TOPIC),
        (KafkaError.NOT_ENOUGH_REPLICAS, Counts.TOPIC),
        (KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND, Counts.TOPIC),
        (KafkaError.KAFKA_STORAGE_ERROR, Counts.TOPIC),
        (KafkaError._INVALID_DIFFERENT_RECORD, Counts.NOTHING),
        (KafkaError._QUEUE_FULL, Counts.NOTHING),
    ],
)
def test_the_clusters_faults_count_for_those_breakers_that_they_concern(code: int, counts: Counts) -> None:
    assert verdict_of(code) == (Fault.CLUSTER, counts)


@pytest.mark.parametrize("code", [-12_345, 99_999])
def test_a_code_nobody_knows_keeps_the_record_and_stops_no_other_topic(code: int) -> None:
    assert verdict_of(code) == (Fault.CLUSTER, Counts.TOPIC)


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


@pytest.mark.parametrize("code", [KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._DESTROY])
def test_what_we_called_back_ourselves_is_nobodys_fault(code: int) -> None:
    assert fault_of(code) is Fault.PURGED


@pytest.mark.parametrize(
    "code", [KafkaError._FATAL, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.UNKNOWN_PRODUCER_ID]
)
def test_what_a_producer_cannot_recover_from_asks_for_another_one(code: int) -> None:
    assert fault_of(code) is Fault.FATAL


def test_only_the_clusters_own_faults_count_for_a_breaker() -> None:
    counting = {verdict.fault for verdict in VERDICTS.values() if verdict.counts is not Counts.NOTHING}

    assert counting == {Fault.CLUSTER}


def test_every_code_is_classified_or_never_reaches_a_producer() -> None:
    assert known_names() - VERDICTS.keys() - NEVER_A_PRODUCERS == set()
    assert VERDICTS.keys() & NEVER_A_PRODUCERS == set()


def test_a_misspelt_code_would_be_noticed() -> None:
    assert (VERDICTS.keys() | NEVER_A_PRODUCERS) - known_names() == set()


def test_the_page_says_of_every_classified_code_what_the_table_says() -> None:
    assert rows() == {name: (verdict.fault, verdict.counts) for name, verdict in VERDICTS.items()}
