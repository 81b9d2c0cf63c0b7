"""Control plane: the Celery task that evaluates the alerts and sends what is due. Any number of them may run at once.

It leaves the time of each whole evaluation in Redis; when that grows old, the nodes' supervisors say so themselves.
"""

import json
import logging
import time
from datetime import timedelta

import redis
from celery import shared_task
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from ingest.alerts import conditions, incidents, notify, observing
from ingest.alerts.kinds import EVALUATED, OPEN_COUNTS
from ingest.dead_letters.figures import leave_figures
from ingest.heartbeats import forget

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]  # Celery ships no types
def evaluate_alerts() -> int:
    """Returns how many conditions hold; -1 when the database was away, and nothing could be judged."""
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    client = redis.Redis.from_url(
        settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
    )
    try:
        return _evaluate(client)
    except DatabaseError as error:
        log.warning("alerts are not evaluated, the database does not answer; the next run tries again: %s", error)
        return -1
    finally:
        client.close()


def _evaluate(client: redis.Redis) -> int:
    observed = observing.observe(client)
    found = conditions.findings(observed, observing.thresholds())
    at = timezone.now()
    incidents.incidents_update(
        found=found,
        unknown=conditions.unknown_kinds(observed),
        at=at,
        clear_s=settings.FOREBAY_ALERT_CLEAR_S,
        channels=notify.channels(),
    )
    incidents.incidents_forget(ended_before=at - timedelta(days=settings.FOREBAY_ALERT_RETENTION_DAYS))
    notify.send_due(at)
    # Last of all: while nothing can be sent there is no mark, and the supervisors tell instead.
    if observed.redis:
        _leave_word(client, observed)
    return len(found)


def _leave_word(client: redis.Redis, observed: conditions.Observed) -> None:
    """Forget the replaced, then say that this evaluation got to its end, and how it all stands in figures."""
    workers = observed.redis.workers if observed.redis else ()
    missing_s = settings.FOREBAY_ALERT_WORKER_MISSING_S
    try:
        forget(client, conditions.missing_and_replaced(workers, observed.wall_s, missing_s)[1])
        client.mset({EVALUATED: time.time(), OPEN_COUNTS: json.dumps(incidents.open_counts())})
        leave_figures(client, observed.oldest_dead_letter_age_s)
    except redis.RedisError as error:
        log.warning("the evaluation of the alerts is not noted, Redis does not answer: %s", error)
