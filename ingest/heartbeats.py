"""Control plane's view of the workers: each writes its condition to one Redis hash every second, alerts read all.

A heartbeat has no expiry: one that stopped without a goodbye must be found, not forgotten. The beat runs on the chores'
thread of a worker; nothing on a request's way waits for it.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

import msgspec
import redis

WORKERS = "forebay:workers"
# What a worker tells beside its heartbeat, in a field of its own; it goes when the heartbeat does.
BREAKERS, JOURNALS = "forebay:workers:breakers", "forebay:journals"
# Deletes a heartbeat only while it is the one that was judged: a worker that was frozen may have come back meanwhile.
_FORGET_UNCHANGED = (
    "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end return 0"
)


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker as one worker sees it; `name` is that of `breaker_name`."""

    name: str
    state: str
    cause: str = ""
    since_wall_ms: int = 0


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself; the counters are its own since it began."""

    node: str
    pid: int
    started_wall_s: float
    seen_wall_s: float
    snapshot_version: int | None = None
    snapshot_age_s: float | None = None
    rules_version: int | None = None  # the number of the rules it routes by
    rules_taken_wall_s: float | None = None  # when it took them in
    in_flight_events: int = 0
    journal_pending_events: int = 0
    journal_used_bytes: int = 0
    journal_max_bytes: int = 0
    queue_utilisation_ratio: float = 0.0
    version: str = ""
    kind: str = "web"  # what its process serves: `web` or `listen`
    accepted_last_minute_events: float = 0
    rejected_last_minute_events: float = 0
    throttled_last_minute_requests: float = 0
    produce_p99_ms: float | None = None  # over the last minute; None while too little was acknowledged in it
    # Acknowledgements of the last minute by upper bound in seconds: percentiles of all workers come from their sum.
    produce_last_minute_up_to: dict[str, float] = {}
    delivered_last_minute_events: float = 0
    delivery_errors_last_minute: float = 0
    delivered_events: float = 0
    delivery_errors: float = 0
    breakers: tuple[BreakerStatus, ...] = ()
    damaged_segments: int = 0  # files set aside in this node's journal directory
    disk_free_bytes: int = 0  # of the file system that holds the journal
    disk_total_bytes: int = 0
    redis_available: bool = True

    @property
    def name(self) -> str:
        """How it is called in alerts and commands, and the field of its heartbeat."""
        return f"{self.node}/{self.pid}"


def breaker_name(topic: str) -> str:
    """How a topic's breaker, or for none the cluster's, is called in alerts. No topic has a blank in its name."""
    return f"topic {topic}" if topic else "the cluster"


log = logging.getLogger(__name__)

T = TypeVar("T", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()


class Heartbeat:
    """The heartbeat of one worker process."""

    def __init__(self, client: redis.Redis, node_name: str, pid: int, started_wall_s: float) -> None:
        self._redis = client
        self._own = {"node": node_name, "pid": pid, "started_wall_s": started_wall_s}
        self._field = f"{node_name}/{pid}"

    def beat(self, status: Mapping[str, object], wall_s: float) -> None:
        """Write the fields of WorkerStatus that are given; others keep their defaults, unknown ones are left out.

        Raises redis.RedisError, and msgspec.ValidationError for a field of the wrong type.
        """
        found = msgspec.convert({**status, **self._own, "seen_wall_s": wall_s}, WorkerStatus)
        self._redis.hset(WORKERS, self._field, _encoder.encode(found))

    def tell(self, where: str, what: msgspec.Struct) -> None:
        """Write what this worker has to tell beside it. Raises redis.RedisError."""
        self._redis.hset(where, self._field, _encoder.encode(what))

    def goodbye(self) -> None:
        """The last word of a worker that stops in order. Raises redis.RedisError."""
        pipe = self._redis.pipeline(transaction=False)
        for place in (WORKERS, BREAKERS, JOURNALS):
            pipe.hdel(place, self._field)
        pipe.execute()


def workers(client: redis.Redis) -> list[WorkerStatus]:
    """Every worker that has not said goodbye, by name. Raises redis.RedisError."""
    found = (_read(blob, WorkerStatus) for blob in _blobs(client).values())
    return sorted((status for status in found if status), key=lambda status: status.name)


def forget(client: redis.Redis, statuses: Iterable[WorkerStatus]) -> int:
    """Remove these heartbeats unless they have moved since; returns how many went. Raises redis.RedisError."""
    blobs = _blobs(client)
    gone = 0
    for status in statuses:
        blob = blobs.get(status.name.encode())
        if blob is None or _read(blob, WorkerStatus) != status:
            continue
        if client.eval(_FORGET_UNCHANGED, 1, WORKERS, status.name, blob):
            gone += 1
            for beside in (BREAKERS, JOURNALS):
                client.hdel(beside, status.name)
    return gone


def told(client: redis.Redis, where: str, kind: type[T]) -> dict[str, T]:
    """What workers tell beside their heartbeats, by the worker's name. Raises redis.RedisError."""
    found = cast(dict[bytes, bytes], client.hgetall(where))
    read = {name.decode(): _read(blob, kind) for name, blob in found.items()}
    return {name: one for name, one in read.items() if one is not None}


def _read(blob: bytes, kind: type[T]) -> T | None:
    """None for what another release or another program wrote: it must not hide the others."""
    try:
        return msgspec.json.decode(blob, type=kind)
    except msgspec.MsgspecError as error:
        log.warning("a heartbeat cannot be read: %s", error)
        return None


def _blobs(client: redis.Redis) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], client.hgetall(WORKERS))
