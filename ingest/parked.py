"""Which (tenant, topic)s are parked, as the workers say in Redis for operators and alerts.

Written by each worker about once a second, read by `manage.py topic parked`, the console and the evaluation of alerts.
A worker that says nothing for PARKED_TTL_S is gone, and whoever adopts its journal says it again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
from redis import Redis

PARKED = "forebay:parked"
_BY_WORKER = "forebay:parked:by_worker"
PARKED_TTL_S = 15
_SOURCE = Path(__file__).with_name("publish_parked.lua").read_text(encoding="utf-8")


class ParkedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Why events of a tenant for a topic wait. `pending` is what waits in one worker, or in all of them where it is
    read; `worker` and `node` are then those that parked it first."""

    tenant: str
    topic: str
    code: str
    detail: str
    since_wall_ms: int
    pending: int
    worker: str = ""
    node: str = ""


_decode = msgspec.json.Decoder(ParkedEntry).decode


def publish_parked(redis: Redis, worker_id: str, entries: Sequence[ParkedEntry]) -> None:
    """All that this worker has parked, an empty list too: it takes back what was said before. One round trip; raises
    RedisError."""
    said = msgspec.json.encode([msgspec.structs.replace(entry, worker=worker_id) for entry in entries])
    redis.register_script(_SOURCE)([PARKED, _BY_WORKER], [worker_id, PARKED_TTL_S * 1000, said])


def read_parked(redis: Redis) -> list[ParkedEntry]:
    """What is parked anywhere, the longest first. One round trip; raises RedisError."""
    found = cast("dict[bytes, bytes]", redis.hgetall(PARKED))
    return sorted(map(_decode, found.values()), key=lambda entry: entry.since_wall_ms)
