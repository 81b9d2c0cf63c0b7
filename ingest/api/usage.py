"""`GET /api/usage`: what became of the tenant's own events, in a window of time and by steps of it.

HTTP side; request threads, off the event path: it asks Redis and the database.
"""

import time
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
import redis
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ingest.api.addresses import client_address
from ingest.api.admission import admit
from ingest.api.answers import Answer, encode
from ingest.api.database_reads import from_database
from ingest.api.schema import USAGE
from ingest.api.views import Environ, LaneView
from ingest.dataplane.errors import BadRequest, MethodNotAllowed
from ingest.ledger.usage import Window, usage
from ingest.worker import worker

STEP_MINUTES = {"minute": 1, "hour": 60, "day": 1440}
STEPS_DEFAULT = {"minute": 60, "hour": 24, "day": 30}
STEPS_MAX = 1500


class UsageQuery(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """What the query string may say: times in RFC 3339 with a zone."""

    from_: datetime | None = None
    to: datetime | None = None
    step: Literal["minute", "hour", "day"] = "hour"


class UsageView(LaneView):
    """The tenant's own ledger."""

    route = "usage"
    http_methods = ("GET",)

    def _respond(self, environ: Environ, correlation: str) -> Answer:
        if environ["REQUEST_METHOD"] != "GET":
            raise MethodNotAllowed("method_not_allowed", "This address takes GET", allowed=self.http_methods)
        node = worker()
        caller = admit(environ, node, "read", client_address(environ, node.trusted_proxies))
        window = parse_window(environ["QUERY_STRING"], time.time())
        return Answer(200, encode(read_usage(node.redis, caller.tenant.name, window)))

    @USAGE
    def get(self, request: HttpRequest) -> HttpResponseBase:
        """What became of your own events; needs the scope `read`."""
        return self.dispatch(request)


def read_usage(client: redis.Redis, tenant: str, window: Window) -> dict[str, Any]:
    """By few threads at a time, as all that asks the database here. Raises Unavailable."""
    return from_database(
        lambda: usage(client, tenant, window),
        code="usage_unavailable",
        detail="The ledger cannot be read now; it goes on counting, and so does acceptance",
    )


def parse_window(text: str, wall_s: float) -> Window:
    """Whole steps around what the query names. Raises BadRequest for a name or a value that is none."""
    try:
        # A plus sign that nobody escaped arrives as a blank, which no RFC 3339 time ends with.
        given = {name: value.replace(" ", "+") for name, value in parse_qsl(text, keep_blank_values=True)}
        query = msgspec.convert(given, UsageQuery, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest("invalid_query", str(error)) from None
    for at in (query.from_, query.to):
        if at is not None and at.tzinfo is None:
            raise BadRequest("invalid_query", "from and to need a zone, such as 2030-01-01T12:00:00Z")
    return _window(query, wall_s)


def _window(query: UsageQuery, wall_s: float) -> Window:
    step = STEP_MINUTES[query.step]
    end_s = query.to.timestamp() if query.to else wall_s
    end = -int(-end_s // (step * 60)) * step
    default = end - STEPS_DEFAULT[query.step] * step
    first = int(query.from_.timestamp() // (step * 60)) * step if query.from_ else default
    if first >= end:
        raise BadRequest("invalid_query", "from is before to")
    if (end - first) // step > STEPS_MAX:
        raise BadRequest("invalid_query", f"That are more than {STEPS_MAX} steps: ask for longer steps or less time")
    return Window(first, end, step)
