"""The events of a body as they were sent, bytes by index: for those who keep what was rejected.

Data plane; pure, any thread. Indexes are those of `ingest.dataplane.event`: every event counts, blank lines do not.
"""

from collections.abc import Iterable, Iterator
from io import BytesIO

import msgspec

_array = msgspec.json.Decoder(list[msgspec.Raw])
_NOT_AN_ARRAY = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def one(body: bytes) -> Iterable[bytes]:
    """The body is the event."""
    return (body,)


def many(body: bytes) -> Iterable[bytes | msgspec.Raw]:
    """Of a JSON array or NDJSON; an array that cannot be taken apart is one document."""
    if body.lstrip()[:1] != b"[":
        return _lines(body)
    try:
        return _array.decode(body)
    except _NOT_AN_ARRAY:
        return (body,)


def _lines(body: bytes) -> Iterator[bytes]:
    return (line for line in BytesIO(body) if not line.isspace())
