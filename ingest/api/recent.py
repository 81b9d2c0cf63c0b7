"""`GET /api/logs`: a bounded sample of what the tenant sent last, from Redis, where the workers leave it.

HTTP side; request threads, off the event path.
"""

import redis

from ingest.api.answers import Answer
from ingest.dataplane.errors import Unavailable
from ingest.dataplane.recent import SAMPLE_EVENTS, recent_key


def recent_events(client: redis.Redis, tenant: str) -> Answer:
    """At most SAMPLE_EVENTS events, newest first. Raises Unavailable when Redis does not answer."""
    try:
        events: list[bytes] = client.lrange(recent_key(tenant), 0, SAMPLE_EVENTS - 1)  # type: ignore[assignment]
    except redis.RedisError:
        raise Unavailable("sample_unavailable", "The sample is away with Redis; events are accepted as ever") from None
    text = b'{"events":[' + b",".join(events) + b'],"sampled":true}'
    return Answer(200, text)
