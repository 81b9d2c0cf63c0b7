"""What the builder finds out about the topics of a real cluster: which can be used, and why the others cannot."""

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, though not by the stubs' rule
    AdminClient,
    NewTopic,
)
from pytest_django import Settings

from ingest.dataplane.policy import UnusableTopic
from ingest.rules.known_topics import topics_of_cluster
from ingest.topics import Topics
from ingest.unusable_topics import in_words, what_to_do
from tests.programs import poll_until

_TIMEOUT_S = 30.0


@pytest.fixture
def admin(kafka_bootstrap: str, settings: Settings) -> AdminClient:
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = kafka_bootstrap
    settings.FOREBAY_TOPIC_CREATE = False
    return AdminClient({"bootstrap.servers": kafka_bootstrap})


def create(admin: AdminClient, name: str, **config: str) -> None:
    made = admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1, config=config)])
    made[name].result(_TIMEOUT_S)
    # The broker has it in its list some moments after it has said so.
    assert poll_until(lambda: name in admin.list_topics(timeout=_TIMEOUT_S).topics, deadline_s=_TIMEOUT_S)


def test_a_topic_that_is_not_there_and_one_that_takes_less_than_a_batch_are_told_apart(
    admin: AdminClient, topic_name: str, settings: Settings
) -> None:
    good, small, absent = f"{topic_name}-good", f"{topic_name}-small", f"{topic_name}-absent"
    create(admin, good, **{"max.message.bytes": "2000000"})
    create(admin, small, **{"max.message.bytes": "2000"})

    found = Topics(_TIMEOUT_S).verify([good, small, absent], [])

    batch_bytes = settings.FOREBAY_PRODUCER_BATCH_SIZE_BYTES
    assert [topic.name for topic in found.topics] == [good]
    assert set(found.unusable) == {
        UnusableTopic(absent, "absent"),
        UnusableTopic(small, "too_small", takes_bytes=2_000, batch_bytes=batch_bytes),
    }
    assert all(in_words(topic) and what_to_do(topic) for topic in found.unusable)


def test_before_a_publish_a_topic_that_is_too_small_is_known_and_nothing_is_created(
    admin: AdminClient, topic_name: str, settings: Settings
) -> None:
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"  # nobody listens there
    settings.FOREBAY_TOPIC_CREATE = True
    small, absent = f"{topic_name}-small", f"{topic_name}-absent"
    create(admin, small, **{"max.message.bytes": "2000"})

    def reasons() -> dict[str, str]:
        return {name: one.reason for name, one in topics_of_cluster([small, absent]).unusable.items()}

    # A page waits for 2 s; a busy machine may need more than one look.
    assert poll_until(lambda: reasons() == {small: "too_small"}, deadline_s=_TIMEOUT_S)
    assert absent not in Topics(_TIMEOUT_S).partition_counts()
