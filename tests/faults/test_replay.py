"""Celery workers that die in the middle of a replay: no dead letter is lost, and what is sent twice is counted."""

import time
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from ingest.dead_letters.selection import OPEN
from ingest.models import DeadLetter, LetterStatus
from tests.celery_programs import celery
from tests.consumer import Record, create_topic, event_id, read_all
from tests.faults.tally import inversions
from tests.programs import poll_until
from tests.unit.dead_letters.world import unsaved

pytestmark = pytest.mark.django_db(transaction=True)

LETTERS = 5_000
KILLS = 10
# Between two kills so many are delivered, which leaves enough for the last kill to meet a replay at work.
STEP = LETTERS // (3 * KILLS)


def replayed() -> int:
    return DeadLetter.objects.filter(status=LetterStatus.REPLAYED).count()


def reached(goal: int) -> bool:
    return poll_until(lambda: replayed() >= goal, 60)


def wait_for_a_batch_on_its_way() -> None:
    """A batch takes some hundredths of a second: a kill at any other moment would interrupt nothing."""
    give_up_s = time.monotonic() + 30
    while not DeadLetter.objects.filter(claimed_until__gt=timezone.now()).exists():
        assert time.monotonic() < give_up_s, "nobody sends"


def test_celery_workers_killed_in_the_middle_of_a_replay_lose_no_letter(
    tmp_path: Path, kafka_bootstrap: str, empty_redis_url: str, postgres_url: str, topic_name: str
) -> None:
    create_topic(kafka_bootstrap, topic_name, partitions=3)
    now = timezone.now()
    times = {"dead_at": now, "retry_since": now, "next_attempt_at": now}
    # Named as the events of tests.faults.traffic are, by which inversions are counted.
    DeadLetter.objects.bulk_create(
        unsaved(event_id=f"replay/{number}", topic=topic_name, partition=-1, **times) for number in range(LETTERS)
    )
    sent = set(DeadLetter.objects.values_list("event_id", flat=True))
    services = {
        "DATABASE_URL": f"{postgres_url.rpartition('/')[0]}/{connection.settings_dict['NAME']}",
        "FOREBAY_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "FOREBAY_REDIS_URL": empty_redis_url,
        "FOREBAY_CELERY_BROKER_URL": empty_redis_url,
        "FOREBAY_REPLAY_SWEEP_INTERVAL_S": "1",
        "FOREBAY_REPLAY_MAX_EVENTS_PER_S": "400",
        "FOREBAY_REPLAY_CLAIM_S": "2",
        "FOREBAY_DEAD_LETTER_MAX_ATTEMPTS": "100",
    }

    with celery(tmp_path, **services) as workers:
        for number in range(KILLS):
            goal = replayed() + STEP
            assert reached(goal), f"the replay stopped at {replayed()}"
            wait_for_a_batch_on_its_way()
            workers.kill_child() if number % 2 else workers.kill_worker()
        last_kill_s = time.monotonic()
        reached(LETTERS)
        heal_s = time.monotonic() - last_kill_s
    records = read_all(kafka_bootstrap, topic_name)
    stored = [event_id(record) for record in records]
    duplicates = len(stored) - len(set(stored))
    unconfirmed = DeadLetter.objects.aggregate(total=Sum("unconfirmed"))["total"]
    pending = DeadLetter.objects.filter(status__in=OPEN).count()
    # Order is not promised around a dead letter; what comes of it is shown all the same.
    print(
        f"sent={LETTERS} accepted={LETTERS} delivered={len(set(stored))} duplicates={duplicates}"
        f" counted_as_possible={unconfirmed} dead-lettered={LETTERS} pending={pending}"
        f" inversions={inversions(records)} to_heal={heal_s:.1f}s kills={KILLS}"
    )

    assert set(stored) == sent
    assert (replayed(), pending) == (LETTERS, 0)
    assert duplicates <= unconfirmed
    assert places(records) >= {
        (one.replayed_partition, one.replayed_offset, one.event_id) for one in DeadLetter.objects.all()
    }


def places(records: list[Record]) -> set[tuple[int | None, int | None, str]]:
    return {(one.partition, one.offset, event_id(one)) for one in records}
