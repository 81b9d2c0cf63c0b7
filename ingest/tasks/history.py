"""Control plane: the Celery tasks that keep the console's history. One lost leaves a gap of a minute in a chart."""

import logging
from collections.abc import Callable
from typing import TypeVar

import redis
from celery import shared_task
from django.db import DatabaseError

from ingest.console import history
from ingest.shared_redis import shared_redis

log = logging.getLogger(__name__)

T = TypeVar("T")


@shared_task  # type: ignore[untyped-decorator]  # Celery ships no types
def record_platform_minute() -> bool:
    """Keep the minute that has just ended; whether that was still to do."""
    return _unless_away(lambda client: history.platform_minute_record(client) is not None) or False


@shared_task  # type: ignore[untyped-decorator]  # as above
def copy_breaker_transitions() -> int:
    """Copy the moves of breakers into the database; returns how many."""
    return _unless_away(history.breaker_transitions_copy) or 0


@shared_task  # type: ignore[untyped-decorator]  # as above
def retire_history() -> int:
    """Delete what is older than the settings say; returns how many rows."""
    return history.history_retire()


def _unless_away(work: Callable[[redis.Redis], T]) -> T | None:
    try:
        with shared_redis() as client:
            return work(client)
    except (redis.RedisError, DatabaseError) as error:
        log.warning("the history is not kept this time: %s", str(error).strip().partition("\n")[0])
        return None
