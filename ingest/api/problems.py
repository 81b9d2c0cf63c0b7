"""Refusals as RFC 9457 problem documents, with the headers that go with them.

HTTP side of the event path; pure.
"""

import math
from typing import Any

from ingest.api.answers import Answer, encode
from ingest.dataplane.errors import MethodNotAllowed, Refused, Throttled


def problem(error: Refused) -> Answer:
    """The answer to a refused request. `code` is stable; `detail` says what to do; a limit names itself."""
    document = {
        "type": f"urn:forebay:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        **error.extra,
    }
    return Answer(error.status, encode(document), "application/problem+json", tuple(_headers(error).items()))


def _headers(error: Refused) -> dict[str, str]:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="forebay"'
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.extra["allowed"])
    if isinstance(error, Throttled):
        headers |= _rate_limit(error.extra)
    return headers


def _rate_limit(limit: dict[str, Any]) -> dict[str, str]:
    """draft-ietf-httpapi-ratelimit-headers: the policy that was hit, and that nothing of it is left."""
    name, window_s = f"{limit['scope']}-{limit['what']}", 86_400 if limit["what"] == "events_per_day" else 1
    return {
        "RateLimit-Policy": f'"{name}";q={limit["limit"]};w={window_s}',
        "RateLimit": f'"{name}";r=0;t={max(1, math.ceil(limit["reset_s"]))}',
    }
