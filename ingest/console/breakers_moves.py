"""The moves of breakers: from the table, and from Redis those that have not been copied yet."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.db.models import QuerySet
from redis import Redis

from ingest.breaker_store import RecordedTransition, transitions_after
from ingest.models import BreakerTransition

# Redis keeps the last thousand.
_FRESH = 1_000
# A breaker that flaps all day moves a few thousand times: of more, the oldest are not drawn.
_DRAWN = 5_000


class Move(NamedTuple):
    """From where to where, when, and why: `by` an operator or `worker`."""

    topic: str
    old: str
    new: str
    at: datetime
    cause: str
    by: str
    worker: str


def fresh_moves(client: Redis) -> list[Move]:
    """Those that the table lacks, oldest first. Raises RedisError."""
    last = BreakerTransition.objects.order_by("-at", "-pk").values_list("stream_id", flat=True).first()
    return [_move(recorded) for _, recorded in transitions_after(client, last or "0", _FRESH)]


def last_moves(fresh: Sequence[Move], count: int, topic: str | None = None) -> list[Move]:
    """The newest first; of one breaker only, where a topic is given."""
    kept = _kept(topic)[:count]
    return _once([*_of(reversed(fresh), topic), *map(_stored, kept)])[:count]


def moves_since(begins: datetime, fresh: Sequence[Move], topic: str | None = None) -> list[Move]:
    """All of them, oldest first."""
    kept = [_stored(row) for row in _kept(topic).filter(at__gt=begins)[:_DRAWN]]
    return _once([*reversed(kept), *(move for move in _of(fresh, topic) if move.at > begins)])


def _kept(topic: str | None) -> QuerySet[BreakerTransition]:
    found = BreakerTransition.objects.order_by("-at", "-pk")
    return found if topic is None else found.filter(topic=topic)


def _of(moves: Iterable[Move], topic: str | None) -> Iterable[Move]:
    return (move for move in moves if topic in (None, move.topic))


def _once(moves: Iterable[Move]) -> list[Move]:
    """One may have been copied since the fresh ones were read."""
    return list(dict.fromkeys(moves))


def _stored(row: BreakerTransition) -> Move:
    return Move(row.topic, row.old, row.new, row.at, row.cause, row.by, row.worker)


def _move(recorded: RecordedTransition) -> Move:
    at = datetime.fromtimestamp(recorded.at_wall_ms / 1000, UTC)
    return Move(recorded.topic, recorded.old, recorded.new, at, recorded.cause, recorded.by, recorded.worker)
