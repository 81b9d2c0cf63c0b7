"""Control plane's view of the workers: each writes its condition to one Redis hash every second, alerts read all.

A heartbeat has no expiry: one that stopped without a goodbye must be found, not forgotten. The beat runs on the chores'
thread of a worker; nothing on a request's way waits for it.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import cast

import msgspec
import redis

WORKERS = "forebay:workers"
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
    in_flight_events: int = 0
    journal_pending_events: int = 0
    journal_used_bytes: int = 0
    journal_max_bytes: int = 0
    queue_utilisation_ratio: float = 0.0
    produce_p99_ms: float | None = None  # over the last minute; None while too little was acknowledged in it
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

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WorkerStatus)


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

    def goodbye(self) -> None:
        """The last word of a worker that stops in order. Raises redis.RedisError."""
        self._redis.hdel(WORKERS, self._field)


def workers(client: redis.Redis) -> list[WorkerStatus]:
    """Every worker that has not said goodbye, by name. Raises redis.RedisError."""
    found = (_read(blob) for blob in _blobs(client).values())
    return sorted((status for status in found if status), key=lambda status: status.name)


def forget(client: redis.Redis, statuses: Iterable[WorkerStatus]) -> int:
    """Remove these heartbeats unless they have moved since; returns how many went. Raises redis.RedisError."""
    blobs = _blobs(client)
    gone = 0
    for status in statuses:
        blob = blobs.get(status.name.encode())
        if blob is not None and _read(blob) == status:
            gone += int(cast(int, client.eval(_FORGET_UNCHANGED, 1, WORKERS, status.name, blob)))
    return gone


def _read(blob: bytes) -> WorkerStatus | None:
    """None for what another release or another program wrote: it must not hide the others."""
    try:
        return _decoder.decode(blob)
    except msgspec.MsgspecError as error:
        log.warning("a heartbeat cannot be read: %s", error)
        return None


def _blobs(client: redis.Redis) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], client.hgetall(WORKERS))
