"""The correlation id of a request: the sender's where there is one, else a new one; it is echoed in the answer.

HTTP side of the event path; pure, any thread.
"""

import random
import re
from collections.abc import Mapping
from typing import Any

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_CORRELATION_ID = re.compile(r"[\x21-\x7e]{1,255}")


def correlation_id(meta: Mapping[str, Any]) -> str:
    """X-Correlation-ID, or the trace id of a traceparent (W3C Trace Context), or 128 random bits."""
    given = meta.get("HTTP_X_CORRELATION_ID")
    if given is not None and _CORRELATION_ID.fullmatch(given):
        return str(given)
    traceparent = meta.get("HTTP_TRACEPARENT")
    if traceparent is not None and (match := _TRACEPARENT.fullmatch(traceparent)):
        return match[1]
    return f"{random.getrandbits(128):032x}"
