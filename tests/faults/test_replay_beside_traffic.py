"""A replay at its capped rate beside live traffic: the live requests hardly notice it."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from django.db import connection
from django.utils import timezone

from ingest.dead_letters import bulk as bulks
from ingest.dead_letters.selection import LetterCriteria
from ingest.models import BulkReplay, BulkStatus, DeadLetter, LetterStatus, ReplayRoute
from tenants.models import Plan
from tests.celery_programs import celery
from tests.consumer import create_topic
from tests.faults.conftest import Serve, wait_until_acknowledged
from tests.faults.traffic import Sent, Traffic
from tests.programs import poll_until
from tests.unit.dead_letters.world import letters

pytestmark = pytest.mark.django_db(transaction=True)

# Live p99 may rise by a fifth. On a machine that others use, p99 of one and the same traffic differs by more than that
# from minute to minute, so no figure in milliseconds can be held to. What is held to is the median of many ratios: each
# is of two rounds that are neighbours, now the quiet one first and now the other, so that what the machine does
# meanwhile is on both sides alike.
RISE_AT_MOST = 0.2
# Where quiet rounds differ by more than this from one to the next, as on cores that others keep busy, that median is
# chance too. A larger rise is then shown only if nearly every pair has it: by chance alone so many have it once in a
# hundred runs.
NOISE_AT_MOST = 0.25
SHOWN_BY_PAIRS = 9
ROUNDS = 10
REQUESTS_A_ROUND = 600
EVENTS_A_REQUEST = 5
WHO_AND_WHY = {"by": "ada", "reason": "beside traffic"}


def replayed() -> int:
    return DeadLetter.objects.filter(status=LetterStatus.REPLAYED).count()


def planned(topic: str) -> BulkReplay:
    now = timezone.now()
    letters(20_000, status=LetterStatus.EXHAUSTED, topic=topic, partition=-1, dead_at=now, retry_since=now)
    return bulks.bulk_plan(
        criteria=LetterCriteria(tenant="acme"), route=ReplayRoute.PINNED, reason="beside traffic", by="ada"
    )


def noise_of(rounds: Sequence[float]) -> float:
    """By how much one round differs from the next, as a rule."""
    return median(max(pair) / min(pair) for pair in pairwise(rounds)) - 1


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
        bulks.bulk_start(bulk=bulk, **WHO_AND_WHY)
        assert poll_until(lambda: replayed() > 0, 60)
        for number in range(2 * ROUNDS):
            is_busy = number % 4 in (1, 2)  # quiet, busy, busy, quiet
            if is_busy == (bulk.status == BulkStatus.PAUSED):
                (bulks.bulk_resume if is_busy else bulks.bulk_pause)(bulk=bulk, **WHO_AND_WHY)
            before = replayed()
            (busy if is_busy else quiet).append(a_round(node.port, key, f"round-{number}").p99_s)
            sent_again += (replayed() - before) * is_busy
    ratios = [beside / without for without, beside in zip(quiet, busy, strict=True)]
    rise, noise = median(ratios) - 1, noise_of(quiet)
    pairs = sum(ratio > 1 + RISE_AT_MOST for ratio in ratios)
    print(
        f"live p99 without replay {median(quiet) * 1000:.1f} ms, with it {median(busy) * 1000:.1f} ms, {rise:+.0%} from"
        f" round to round, where quiet ones differ by {noise:.0%}; {pairs} of {ROUNDS} pairs rise by more than"
        f" {RISE_AT_MOST:.0%}; {sent_again} sent again meanwhile"
    )

    assert sent_again > 1_000
    assert rise <= RISE_AT_MOST or (noise > NOISE_AT_MOST and pairs < SHOWN_BY_PAIRS)
