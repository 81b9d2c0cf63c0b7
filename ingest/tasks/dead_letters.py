"""The Celery tasks of dead letters. A message is a hint that it is time to look: one lost or repeated does no harm."""

import logging

import redis
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from ingest.dead_letters.decisions import letters_retire
from ingest.dead_letters.pacing import ReplayRate, process_send_rate
from ingest.dead_letters.retries import retry_policy
from ingest.dead_letters.routes import Routes
from ingest.dead_letters.sending import replay_producer
from ingest.dead_letters.sweep import Tools, dead_letters_sweep
from ingest.figures import FAILED_TRIES
from tenants.buckets import RedisBuckets

log = logging.getLogger(__name__)

# Of each interval a part is left to the other tasks of the process.
SWEEP_SHARE = 0.7
RETIRE_BUDGET_S = 10.0


@shared_task  # type: ignore[untyped-decorator]  # Celery ships no types
def sweep_dead_letters() -> dict[str, int]:
    """Send what is due; returns what became of it."""
    sender = replay_producer()
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    with redis.Redis.from_url(
        settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
    ) as client:
        shared = RedisBuckets(client, lambda: timezone.now().timestamp())
        tools = Tools(
            sender=sender,
            routes=Routes(settings.FOREBAY_SNAPSHOT_FILE),
            rate=ReplayRate(shared, settings.FOREBAY_REPLAY_MAX_EVENTS_PER_S, send_rate=process_send_rate()),
            shared=shared,
            policy=retry_policy(),
        )
        replayed = dead_letters_sweep(tools=tools, budget_s=SWEEP_SHARE * settings.FOREBAY_REPLAY_SWEEP_INTERVAL_S)
        _count_failed(client, replayed["failed"])
    if replayed:
        log.info("dead letters sent again: %s", dict(replayed))
    return dict(replayed)


def _count_failed(client: redis.Redis, tries: int) -> None:
    """For the metrics; the table has them letter by letter."""
    if not tries:
        return
    try:
        client.incrby(FAILED_TRIES, tries)
    except redis.RedisError as error:
        log.debug("%d failed tries are not counted, Redis does not answer: %s", tries, error)


@shared_task  # type: ignore[untyped-decorator]  # as above
def retire_dead_letters() -> tuple[int, int]:
    """What the retention gives up and what it deletes."""
    discarded, deleted = letters_retire(now=timezone.now(), budget_s=RETIRE_BUDGET_S)
    if discarded or deleted:
        log.info("retention: %d dead letters discarded, %d deleted", discarded, deleted)
    return discarded, deleted
