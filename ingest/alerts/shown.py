"""The open incidents as metrics: Celery's processes expose none, so the workers show what the evaluation left in Redis.

A chore of the worker, every ten seconds; no request waits for it.
"""

import json
import time
from typing import cast

import redis

from ingest.alerts.kinds import EVALUATED, OPEN_COUNTS, Kind
from ingest.dataplane import metrics

SHOW_S = 10.0


def show_open_alerts(client: redis.Redis) -> None:
    """Every kind gets a number, so that an ended one falls to 0. Blocks for a round trip; raises redis.RedisError."""
    evaluated, counts = cast(list[bytes | None], client.mget(EVALUATED, OPEN_COUNTS))
    if evaluated is None or counts is None:
        return
    open_counts = json.loads(counts)
    metrics.ALERTS_EVALUATION_AGE_SECONDS.set(max(0.0, time.time() - float(evaluated)))
    for kind in frozenset(Kind) - {Kind.ALERTS_UNWATCHED}:  # that one is what the age is for
        metrics.ALERTS_OPEN.labels(kind.value).set(open_counts.get(kind.value, 0))
