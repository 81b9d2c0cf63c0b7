"""A replay at its capped rate beside live traffic: the live requests hardly notice it."""

from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.selection import LetterCriteria
from ingest.models import BulkReplay, DeadLetter, LetterStatus, ReplayRoute
from tenants.models import Plan
from tests.consumer import create_topic
from tests.faults.celery_programs import celery
from tests.faults.conftest import Serve, wait_until_acknowledged
from tests.faults.traffic import Sent, Traffic
from tests.programs import poll_until
from tests.unit.dead_letters.world import letters

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 4
REQUESTS_A_ROUND = 800
EVENTS_A_REQUEST = 5
# What a scheduler of two busy cores adds by itself; the bound is about what is larger than that.
NOISE_S = 0.005


def replayed() -> int:
    return DeadLetter.objects.filter(status=LetterStatus.REPLAYED).count()


def planned(topic: str) -> BulkReplay:
    now = timezone.now()
    letters(20_000, status=LetterStatus.EXHAUSTED, topic=topic, partition=-1, dead_at=now, retry_since=now)
    return bulks.bulk_plan(
        criteria=LetterCriteria(tenant="acme"), route=ReplayRoute.PINNED, reason="beside traffic", by="test"
    )


def a_round(port: int, key: str, name: str) -> Sent:
    with Traffic(port, key, name=name, batch_events=EVENTS_A_REQUEST, requests_per_s=200) as traffic:
        traffic.wait_for(REQUESTS_A_ROUND * EVENTS_A_REQUEST)
    return traffic.sent


def test_live_traffic_hardly_notices_a_replay(
    serve: Serve, tmp_path: Path, kafka_bootstrap: str, empty_redis_url: str, postgres_url: str, topic_name: str
) -> None:
    Plan.objects.get_or_create(name="agent")
    create_topic(kafka_bootstrap, topic_name, partitions=3)
    database_url = f"{postgres_url.rpartition('/')[0]}/{connection.settings_dict['NAME']}"
    node, key = serve(database_url=database_url)
    wait_until_acknowledged(node, key)
    bulk = planned(topic_name)
    quiet, busy, sent_again = Sent(), Sent(), 0

    with celery(tmp_path, **node.environment, FOREBAY_REPLAY_SWEEP_INTERVAL_S="1") as _:
        bulks.bulk_start(bulk=bulk)
        assert poll_until(lambda: replayed() > 0, 60)
        for number in range(ROUNDS):
            bulks.bulk_pause(bulk=bulk)
            quiet.add(a_round(node.port, key, f"quiet-{number}"))
            bulks.bulk_resume(bulk=bulk)
            before = replayed()
            busy.add(a_round(node.port, key, f"busy-{number}"))
            sent_again += replayed() - before
    rise = busy.p99_s / quiet.p99_s - 1
    print(
        f"live p99 without replay {quiet.p99_s * 1000:.1f} ms, with it {busy.p99_s * 1000:.1f} ms ({rise:+.0%});"
        f" {len(quiet.all) + len(busy.all)} live events, {sent_again} sent again meanwhile"
    )

    assert set(busy.codes) == {"202"}
    assert sent_again > 1_000
    assert busy.p99_s <= max(1.2 * quiet.p99_s, quiet.p99_s + NOISE_S)
