"""Control plane: the Celery tasks of the ledger. One lost, repeated, or run twice at once does no harm: totals only
grow, and what a task does not get to waits in Redis and in the journals for the next one.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

import redis
from celery import shared_task
from django.db import DatabaseError

from ingest.ledger import checking, copying, hours
from ingest.shared_redis import shared_redis

log = logging.getLogger(__name__)

# Of each hour; the other tasks of the process wait for it.
ROLL_UP_BUDGET_S = 20.0

T = TypeVar("T")


@shared_task  # type: ignore[untyped-decorator]  # Celery ships no types
def ledger_copy() -> int:
    """Copy what the workers have counted into the database; returns how many accounts."""
    return _with_redis(copying.copy_all) or 0


@shared_task  # type: ignore[untyped-decorator]  # as above
def ledger_check() -> list[str]:
    """See whether the ledger adds up; returns what does not."""
    result = _with_redis(checking.ledger_check)
    for text in result.mismatches if result else ():
        log.error("the ledger does not add up: %s", text)
    return result.mismatches if result else []


@shared_task  # type: ignore[untyped-decorator]  # as above
def ledger_roll_up() -> int:
    """Merge minutes of the past into hours; returns how many."""
    merged = hours.roll_up(budget_s=ROLL_UP_BUDGET_S)
    if merged:
        log.info("%d minutes of the ledger merged into hours", merged)
    return merged


def _with_redis(work: Callable[[redis.Redis], T]) -> T | None:
    try:
        with shared_redis() as client:
            return work(client)
    except (redis.RedisError, DatabaseError) as error:
        log.warning("the ledger is not copied, the next run does it: %s", str(error).strip().partition("\n")[0])
        return None
