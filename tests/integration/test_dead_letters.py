"""Dead letters on real services: PostgreSQL's locks between claimers, Kafka's refusals, one rate through Redis."""

import json
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime

import pytest
import redis
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from ingest.dead_letters.claims import letters_claim
from ingest.dead_letters.keeping import letters_keep
from ingest.deadletters import DeadLetterWriter
from ingest.figures import FAILED_TRIES
from ingest.models import DeadLetter, DeadLetterAttempt, LetterStatus
from ingest.tasks.dead_letters import sweep_dead_letters
from tenants.models import Plan
from tests.consumer import create_topic, read_all
from tests.faults.traffic import Client
from tests.node import Node
from tests.programs import poll_until
from tests.unit.dead_letters.world import event, letter, letters, statuses, undeliverable

# Not in a transaction of the test's, which other connections could not see into.
pytestmark = pytest.mark.django_db(transaction=True)


def due() -> dict[str, datetime]:
    """The clock of these tests is the real one."""
    return dict.fromkeys(("dead_at", "retry_since", "next_attempt_at"), timezone.now())


def at_once(*works: Callable[[], None]) -> None:
    """Each on a thread and a connection of its own; what one raises is raised here."""
    ready, raised = threading.Barrier(len(works)), []

    def run(work: Callable[[], None]) -> None:
        try:
            ready.wait()
            work()
        except Exception as error:  # noqa: BLE001 - it is raised again, on the thread of the test
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


@pytest.fixture
def services_of_the_task(kafka_bootstrap: str, empty_redis_url: str, settings: Settings) -> str:
    """The task runs in this process, on the session's services."""
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = kafka_bootstrap
    settings.FOREBAY_REDIS_URL = empty_redis_url
    settings.FOREBAY_REPLAY_SWEEP_INTERVAL_S = 10.0
    return kafka_bootstrap


def test_claimers_that_race_never_get_the_same_letter() -> None:
    letters(400, **due())
    claimed: list[list[int]] = [[] for _ in range(4)]

    def claim(mine: list[int]) -> None:
        idle = 0
        while idle < 3:
            found = letters_claim(most=7, claim_s=60, max_attempts=3, now=timezone.now(), by="retry")
            mine += [one.pk for one in found]
            idle = 0 if found else idle + 1

    at_once(*(lambda mine=mine: claim(mine) for mine in claimed))

    everything = [pk for mine in claimed for pk in mine]
    assert len(everything) == len(set(everything)) == 400
    assert sum(bool(mine) for mine in claimed) > 1
    assert DeadLetter.objects.exclude(unconfirmed=0).count() == 0


def test_two_workers_that_offer_the_same_letters_keep_them_once() -> None:
    batch = [undeliverable(number) for number in range(200)]

    def keep() -> None:
        letters_keep(batch=batch)

    at_once(keep, keep)

    assert DeadLetter.objects.count() == 200
    assert DeadLetterAttempt.objects.values("letter").distinct().count() == 200


def test_what_the_writer_says_is_kept_is_in_the_database() -> None:
    settled: list[int] = []
    writer = DeadLetterWriter(lambda kept: settled.extend(one.sequence for one in kept))
    writer.start()

    offered = [writer.offer(undeliverable(number)) for number in range(50)]
    done = poll_until(lambda: len(settled) == 50, 20)
    writer.stop()

    assert all(offered)
    assert done
    assert sorted(DeadLetter.objects.values_list("sequence", flat=True)) == sorted(settled)


def test_a_replay_lands_where_it_says_with_its_own_id_and_key_at_the_time_of_the_replay(
    services_of_the_task: str, topic_name: str
) -> None:
    create_topic(services_of_the_task, topic_name, partitions=4)
    letters(120, topic=topic_name, partition=3, **due())
    letters(30, topic=topic_name, partition=-1, **due())

    began_ms = time.time_ns() // 1_000_000
    replayed = sweep_dead_letters()

    records = {(one.partition, one.offset): one for one in read_all(services_of_the_task, topic_name)}
    assert replayed == {"delivered": 150}
    assert len(records) == 150
    for one in DeadLetter.objects.all():
        record = records[one.replayed_partition or 0, one.replayed_offset or 0]
        assert json.loads(record.value)["eventId"] == one.event_id
        assert record.key == b"checkout"
        # By the time of acceptance, which may be months ago, the broker would delete it with the next look at its logs.
        assert record.timestamp_ms >= began_ms


def test_one_record_that_the_broker_refuses_leaves_its_neighbours_to_be_delivered(
    services_of_the_task: str, topic_name: str, settings: Settings
) -> None:
    create_topic(services_of_the_task, topic_name, partitions=1, config={"max.message.bytes": "20000"})
    letters(20, topic=topic_name, partition=0, **due())
    # Hex digits of chance compress to half at best, which is still too large.
    noise = random.Random(17).randbytes(50_000).hex()
    large = letter(topic=topic_name, partition=0, event_id="large", event=event("large", message=noise), **due())

    sweep_dead_letters()

    large.refresh_from_db()
    assert statuses() == {"exhausted": 1, "replayed": 20}
    assert (large.fault, large.code) == ("record", "MSG_SIZE_TOO_LARGE")
    with redis.Redis.from_url(settings.FOREBAY_REDIS_URL) as client:
        assert client.get(FAILED_TRIES) == b"1"
    assert len(read_all(services_of_the_task, topic_name)) == 20


def test_a_topic_that_is_not_there_is_not_made_by_a_replay(services_of_the_task: str, topic_name: str) -> None:
    gone = letter(topic=f"{topic_name}-gone", **due())

    sweep_dead_letters()
    sweep_dead_letters()

    gone.refresh_from_db()
    assert (gone.fault, gone.code, gone.status) == ("topic", "_UNKNOWN_TOPIC", LetterStatus.WAITING)


def test_the_rate_holds_over_two_sweeps_through_redis(
    services_of_the_task: str, topic_name: str, settings: Settings
) -> None:
    create_topic(services_of_the_task, topic_name, partitions=1)
    settings.FOREBAY_REPLAY_MAX_EVENTS_PER_S = 100
    settings.FOREBAY_REPLAY_SWEEP_INTERVAL_S = 2.0
    letters(600, topic=topic_name, partition=0, **due())

    began = timezone.now()
    counts = [sweep_dead_letters().get("delivered", 0) for _ in range(2)]
    took_s = (timezone.now() - began).total_seconds()

    assert min(counts) > 0
    assert sum(counts) <= 20 + 100 * took_s


def test_a_tenant_reads_its_own_dead_letters_over_http(start_node: Callable[..., Node], postgres_url: str) -> None:
    Plan.objects.get_or_create(name="standard")
    database_url = f"{postgres_url.rpartition('/')[0]}/{connection.settings_dict['NAME']}"
    node = start_node(database_url=database_url, start=False)
    node.manage("tenant_create", "acme")
    sends, reads = (
        json.loads(node.manage("key_issue", "acme", "--name", scope, "--scopes", scope, "--json"))["secret"]
        for scope in ("ingest", "read")
    )
    letters(3, **due())
    letter(event_id="of-bolt", tenant="bolt", **due())
    node.start()

    with Client(node.port, reads) as client:
        first = client.get("/api/dead-letters?limit=2")
        second = client.get(f"/api/dead-letters?limit=2&cursor={first.body['nextCursor']}")
        wrong = [client.get("/api/dead-letters?colour=red"), client.post("/api/dead-letters", b"{}")]
    with Client(node.port, sends) as client:
        forbidden = client.get("/api/dead-letters")

    seen = [one["eventId"] for one in first.body["deadLetters"] + second.body["deadLetters"]]
    assert (first.status, second.status) == (200, 200)
    assert seen == list(DeadLetter.objects.filter(tenant="acme").values_list("event_id", flat=True))
    assert second.body["nextCursor"] is None
    assert [(answer.status, answer.code) for answer in (*wrong, forbidden)] == [
        (400, "invalid_query"),
        (405, "method_not_allowed"),
        (403, "missing_scope"),
    ]
