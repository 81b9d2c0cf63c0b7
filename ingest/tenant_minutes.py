"""Who sends how much, and who is limited by what, minute by minute for two hours and hour by hour for two days.

Each worker adds once a second what came since; the console reads. In Redis alone: it answers "who is it, now", and the
ledger is what counts. Every call is a round trip and raises RedisError when Redis is away.
"""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from redis import Redis
from redis.client import Pipeline

_SPANS = {"minute": (60, 7_200), "hour": (3_600, 172_800)}
"""How long each lasts and how long it is kept, in seconds."""


class Limited(NamedTuple):
    """Requests of a tenant that one of its limits refused. `limit` is such as `tenant events_per_s`."""

    tenant: str
    limit: str
    requests: int


def tenant_minutes_add(
    pipe: Pipeline,
    events: Mapping[str, int],
    throttled: Mapping[tuple[str, str], int],
    wall_s: float,
) -> None:
    """Add to the minute and the hour of now; sent with the pipeline's other commands."""
    for span, (lasts_s, kept_s) in _SPANS.items():
        for kind, counts in (
            ("events", events),
            ("throttled", {f"{tenant}|{limit}": count for (tenant, limit), count in throttled.items()}),
        ):
            key = _key(kind, span, int(wall_s // lasts_s))
            for member, count in counts.items():
                pipe.zincrby(key, count, member)
            if counts:
                pipe.expire(key, kept_s)


def busiest(client: Redis, count: int = 10, wall_s: float | None = None) -> list[tuple[str, float]]:
    """The tenants that sent most in the last whole minute, with their events a second."""
    minute = int((time.time() if wall_s is None else wall_s) // 60) - 1
    found = client.zrevrange(_key("events", "minute", minute), 0, count - 1, withscores=True)
    return [(member.decode(), score / 60) for member, score in cast("list[tuple[bytes, float]]", found)]


def sent(client: Redis, tenants: Iterable[str], wall_s: float | None = None) -> dict[str, float]:
    """Events a second of these tenants, over the last whole minute. One round trip."""
    names = list(tenants)
    minute = int((time.time() if wall_s is None else wall_s) // 60) - 1
    found = client.zmscore(_key("events", "minute", minute), names) if names else []
    return {name: (score or 0.0) / 60 for name, score in zip(names, found, strict=True)}


def limited(client: Redis, tenant: str = "", *, minutes: int = 2, wall_s: float | None = None) -> list[Limited]:
    """Who is being limited: over this minute and those before it; most refused first."""
    this = int((time.time() if wall_s is None else wall_s) // 60)
    return _limited(client, [_key("throttled", "minute", this - back) for back in range(minutes)], tenant)


def limited_hours(client: Redis, tenant: str = "", *, hours: int = 24, wall_s: float | None = None) -> list[Limited]:
    """The same over this hour and those before it."""
    this = int((time.time() if wall_s is None else wall_s) // 3600)
    return _limited(client, [_key("throttled", "hour", this - back) for back in range(hours)], tenant)


def _limited(client: Redis, keys: list[str], tenant: str) -> list[Limited]:
    found = cast("list[tuple[bytes, float]]", client.zunion(keys, withscores=True))
    rows = [_row(member, score) for member, score in found]
    return sorted((row for row in rows if not tenant or row.tenant == tenant), key=lambda row: -row.requests)


def _row(member: bytes, score: float) -> Limited:
    name, _, limit = member.decode().partition("|")
    return Limited(name, limit, int(score))


def _key(kind: str, span: str, number: int) -> str:
    return f"forebay:{{tenants}}:{kind}:{span}:{number}"
