"""Is it alive, is it ready, and how is it: for load balancers, orchestrators and people.

HTTP side; request threads, off the event path, no database.
"""

from typing import Any

from ingest.api.answers import Answer, encode
from ingest.dataplane.errors import Unavailable
from ingest.worker import worker

Environ = dict[str, Any]


def live(environ: Environ) -> Answer:
    """The process answers. Nothing else is looked at, so that an outage elsewhere restarts nobody."""
    return Answer(200, encode({"status": "live"}))


def ready(environ: Environ) -> Answer:
    """200 where events would be accepted: a snapshot is there and the worker is not going away. Kafka may be away."""
    try:
        worker().callers  # noqa: B018 - it raises where a request would be refused
    except Unavailable as error:
        return Answer(503, encode({"status": "not ready", "code": error.code, "detail": error.detail}))
    return Answer(200, encode({"status": "ready"}))


def health(environ: Environ) -> Answer:
    """What this worker knows of itself: `degraded` when events wait in the journal, a breaker is not closed, a topic
    is parked, or quotas are counted locally."""
    try:
        condition = worker().condition()
    except Unavailable as error:
        return Answer(503, encode({"status": "down", "code": error.code, "detail": error.detail}))
    breakers_closed = all(breaker["state"] in ("CLOSED", "DISABLED") for breaker in condition["breakers"])
    is_well = breakers_closed and condition["redis_available"] and not condition["parked_flows"]
    is_degraded = bool(condition["journal_pending_events"]) or not is_well
    return Answer(200, encode({"status": "degraded" if is_degraded else "ok", **condition}))
