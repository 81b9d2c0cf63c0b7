"""A topic that Forebay may not describe looks like one that is not there; the builder finds out which it is."""

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, though not by the stubs' rule
    AclOperation,
    AdminClient,
    NewTopic,
)
from pytest_django import Settings

from ingest.dataplane.policy import UnusableTopic
from ingest.topics import Topics
from tests.faults.brokers import BreakableKafka, only_allowed
from tests.programs import poll_until

_TIMEOUT_S = 30.0


def test_a_topic_that_may_not_be_described_is_told_apart_from_one_that_is_missing(
    kafka: BreakableKafka, topic_name: str, settings: Settings
) -> None:
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = kafka.bootstrap
    settings.FOREBAY_TOPIC_CREATE = False
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    size = {"max.message.bytes": "2000000"}
    admin.create_topics([NewTopic(topic_name, num_partitions=1, replication_factor=1, config=size)])[topic_name].result(
        _TIMEOUT_S
    )
    topics = Topics(_TIMEOUT_S)

    with only_allowed(kafka.bootstrap, topic_name, AclOperation.CREATE):
        # The broker takes a rule in some moments after it has said that it has it.
        poll_until(lambda: not topics.verify([topic_name], []).topics, deadline_s=_TIMEOUT_S)
        hidden = topics.verify([topic_name], [])
    seen_again = poll_until(lambda: bool(topics.verify([topic_name], []).topics), deadline_s=_TIMEOUT_S)

    print(f"while hidden: {hidden}")
    assert hidden == ((), (UnusableTopic(topic_name, "forbidden"),))
    assert seen_again
