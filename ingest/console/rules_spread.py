"""How far a published version has come: which worker routes by which, and how long it took, as the workers say."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from redis import RedisError

from ingest.console.live import MISSING_AFTER_S
from ingest.heartbeats import WorkerStatus, workers
from ingest.models import RuleSet
from ingest.shared_redis import shared_redis


class WorkerRules(NamedTuple):
    """`after_s` is how long after the publication it took the version in; None: not yet, or it began later."""

    name: str
    version: int | None
    has_it: bool
    after_s: float | None


class Spread(NamedTuple):
    """Of the workers that were heard lately."""

    number: int
    workers: list[WorkerRules]

    @property
    def have_it(self) -> int:
        return sum(worker.has_it for worker in self.workers)

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to wait for."""
        return bool(self.workers) and self.have_it == len(self.workers)

    @property
    def slowest_s(self) -> float | None:
        """Of those that were there to see it; None where none was."""
        return max((worker.after_s for worker in self.workers if worker.after_s is not None), default=None)


def spread_now(published: RuleSet) -> Spread | None:
    """None while Redis, in which the workers speak, is away."""
    try:
        with shared_redis() as client:
            known = workers(client)
    except RedisError:
        return None
    now_s = time.time()
    return spread_of((one for one in known if now_s - one.seen_wall_s <= MISSING_AFTER_S), published)


def spread_of(heard: Iterable[WorkerStatus], published: RuleSet) -> Spread:
    """What each of these says of one version."""
    return Spread(published.number, [_worker(status, published) for status in heard])


def _worker(status: WorkerStatus, published: RuleSet) -> WorkerRules:
    has_it = status.rules_version == published.number
    published_s = published.at.timestamp()
    was_there = status.started_wall_s < published_s
    taken_s = status.rules_taken_wall_s
    # Two machines' clocks may differ by more than it takes.
    after_s = max(0.0, taken_s - published_s) if has_it and was_there and taken_s is not None else None
    return WorkerRules(status.name, status.rules_version, has_it, after_s)
