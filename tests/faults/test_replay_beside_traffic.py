"""A replay at its capped rate beside live traffic: the live requests hardly notice it."""

from pathlib import Path
from statistics import median

import pytest
from django.db import connection
from django.utils import timezone

from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.selection import LetterCriteria
from ingest.models import BulkReplay, DeadLetter, LetterStatus, ReplayRoute
from tenants.models import Plan
from tests.celery_programs import celery
from tests.consumer import create_topic
from tests.faults.conftest import Serve, wait_until_acknowledged
from tests.faults.traffic import Sent, Traffic
from tests.programs import poll_until
from tests.unit.dead_letters.world import letters

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 7
REQUESTS_A_ROUND = 600
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
    assert set(traffic.sent.codes) == {"202"}
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
    quiet: list[float] = []
    busy: list[float] = []
    sent_again = 0

    with celery(tmp_path, **node.environment, FOREBAY_REPLAY_SWEEP_INTERVAL_S="1") as _:
        bulks.bulk_start(bulk=bulk)
        assert poll_until(lambda: replayed() > 0, 60)
        for number in range(ROUNDS):
            bulks.bulk_pause(bulk=bulk)
            quiet.append(a_round(node.port, key, f"quiet-{number}").p99_s)
            bulks.bulk_resume(bulk=bulk)
            before = replayed()
            busy.append(a_round(node.port, key, f"busy-{number}").p99_s)
            sent_again += replayed() - before
    # The median over pairs of neighbouring rounds: what else the machine does for a while then counts for both.
    rise = median(after / before for before, after in zip(quiet, busy, strict=True)) - 1
    print(
        f"live p99 without replay {median(quiet) * 1000:.1f} ms, with it {median(busy) * 1000:.1f} ms ({rise:+.0%});"
        f" {sent_again} sent again meanwhile"
    )

    assert sent_again > 1_000
    assert rise <= 0.2 or median(busy) <= median(quiet) + NOISE_S
