"""Refusals as RFC 9457 problem documents, with the headers that go with them.

HTTP side of the event path; pure.
"""

import math
from typing import Any

import msgspec
from django.http import HttpResponse

from ingest.dataplane.errors import EventRejected, Refused, Throttled

_encode = msgspec.json.Encoder().encode


def problem(error: Refused) -> HttpResponse:
    """The answer to a refused request. `code` is stable; `detail` says what to do; a limit names itself."""
    document = {
        "type": f"/docs/errors#{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        **error.extra,
    }
    response = HttpResponse(_encode(document), content_type="application/problem+json", status=error.status)
    if error.retry_after_s is not None:
        response["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="forebay"'
    if isinstance(error, Throttled):
        _add_rate_limit(response, error.extra)
    return response


def _add_rate_limit(response: HttpResponse, limit: dict[str, Any]) -> None:
    """draft-ietf-httpapi-ratelimit-headers: the policy that was hit, and that nothing of it is left."""
    name, window_s = f"{limit['scope']}-{limit['what']}", 86_400 if limit["what"] == "events_per_day" else 1
    response["RateLimit-Policy"] = f'"{name}";q={limit["limit"]};w={window_s}'
    response["RateLimit"] = f'"{name}";r=0;t={max(1, math.ceil(limit["reset_s"]))}'


def rejections(rejected: dict[int, EventRejected], event_ids: dict[int, str | None]) -> list[dict[str, Any]]:
    """Why each event of a batch was not accepted, by its index."""
    return [
        {
            "index": index,
            "eventId": event_ids.get(index),
            "code": error.code,
            "detail": error.detail,
            "retryable": False,
        }
        for index, error in sorted(rejected.items())
    ]
