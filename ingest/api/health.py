"""Is it alive, is it ready, and how is it: for load balancers, orchestrators and people.

HTTP side; request threads, off the event path, no database.
"""

from django.http import HttpRequest, JsonResponse

from ingest.dataplane.errors import Unavailable
from ingest.worker import worker


def live(request: HttpRequest) -> JsonResponse:
    """The process answers. Nothing else is looked at, so that an outage elsewhere restarts nobody."""
    return JsonResponse({"status": "live"})


def ready(request: HttpRequest) -> JsonResponse:
    """200 where events would be accepted: a snapshot is there and the journal has room. Kafka may be away."""
    node = worker()
    try:
        node.callers  # noqa: B018 - it raises where a request would be refused
    except Unavailable as error:
        return JsonResponse({"status": "not ready", "code": error.code, "detail": error.detail}, status=503)
    return JsonResponse({"status": "ready"})


def health(request: HttpRequest) -> JsonResponse:
    """What this worker knows of itself: `degraded` when events wait in the journal or quotas are counted locally."""
    node = worker()
    condition = node.condition()
    is_degraded = bool(condition["journal_pending_events"]) or not condition["redis_available"]
    return JsonResponse({"status": "degraded" if is_degraded else "ok", **condition})
