"""Forebay's batch API as bytes: events to a request, an answer to what became of each event. Pure, any thread.

It follows docs/api.md and docs/errors.md of Forebay: NDJSON to `POST /api/logs/batch`, a result for each event back.
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple

PATH = "/api/logs/batch"
USER_AGENT = "forebay-client/0.1.0"
DELIVERIES = ("", "async", "ack", "fire_and_forget")
# Under this, the headers weigh more than what compression saves.
_COMPRESSED_FROM_BYTES = 1024
# Whoever turns away the caller, not the events, may let it in later: a key is renewed, a tenant resumed, a URL mended.
_CALLER_REFUSED = frozenset({401, 403, 404, 405, 407})
# What we send is whole: whoever changed it on its way may be mended, and the events are as good as they were.
_MANGLED = frozenset(
    {"empty_body", "incomplete_body", "length_required", "malformed_compression", "unsupported_encoding"}
)
REFUSED_WAIT_S = 30.0
_LATER = frozenset({408, 425, 429})


class Rejection(NamedTuple):
    """Why an event was not accepted. Sending it again unchanged gives the same answer."""

    code: str
    detail: str


class Place(NamedTuple):
    """Where Kafka has an event."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Outcome:
    """What became of one batch.

    Either it is settled: each index from 0 is in `accepted` or in `rejected`. Or both are empty and the events are
    still the caller's: to be sent again after `retry_after_s`, or in smaller parts if `is_to_be_split`.
    """

    status: int
    """The HTTP status; 0 when there was no answer, so that nobody knows whether the events arrived."""
    code: str = ""
    """Forebay's stable error code, empty when nothing went wrong; `no_answer` without one."""
    detail: str = ""
    accepted: Sequence[int] = ()
    rejected: Mapping[int, Rejection] = field(default_factory=dict)
    places: Mapping[int, Place] = field(default_factory=dict)
    """Of accepted events that Kafka has acknowledged: with `delivery=ack`, or where a rule says so."""
    pending: frozenset[int] = frozenset()
    """Accepted events whose acknowledgement has not come in time: the journal has them."""
    retry_after_s: float | None = None
    """None: settled or to be split. 0: again, and how long to wait is the caller's choice."""
    is_to_be_split: bool = False


class Request(NamedTuple):
    """What goes to the server, the host and the connection apart."""

    target: str
    headers: Mapping[str, str]
    body: bytes


def encode_request(
    events: Sequence[bytes], key: str, *, delivery: str = "", compression: str | None = "gzip", prefix: str = ""
) -> Request:
    """One batch of encoded events, each a JSON object without a line break.

    The idempotency key is a digest of what is sent: the same batch sent again, even by another process, is known again.
    """
    content = b"\n".join(events)
    target = f"{prefix}{PATH}?delivery={delivery}" if delivery else prefix + PATH
    digest = hashlib.blake2b(content, digest_size=16, person=delivery.encode())
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/x-ndjson",
        "Idempotency-Key": digest.hexdigest(),
        "User-Agent": USER_AGENT,
    }
    if compression is not None and len(content) >= _COMPRESSED_FROM_BYTES:
        content = compressor(compression)(content)
        headers["Content-Encoding"] = compression
    return Request(target, headers, content)


def compressor(name: str) -> Callable[[bytes], bytes]:
    """Raises ValueError for one that is not known, or whose library is not installed."""
    if name == "gzip":
        return _gzip
    if name == "zstd" and zstandard is not None:
        return _zstd
    raise ValueError(f"compression {name!r} is neither 'gzip' nor 'zstd' with the package zstandard installed")


def read_answer(status: int, headers: Mapping[str, str], body: bytes, count: int) -> Outcome:
    """What an answer says of the `count` events of its request; `headers` by lower-case name."""
    try:
        return _read(status, headers, _document(body), count)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # JSON of another shape is not Forebay's
        return Outcome(status, "not_forebay", repr(error), retry_after_s=REFUSED_WAIT_S)


def _read(status: int, headers: Mapping[str, str], document: Mapping[str, Any], count: int) -> Outcome:
    named = document.get("code")
    is_forebays = isinstance(named, str) and named != ""
    code = str(named) if is_forebays else "" if status < 300 else f"http_{status}"
    detail = str(document.get("detail", ""))
    if status in (200, 202, 207) and "accepted" in document:
        return _settled(status, document, count)
    if code == "idempotency_answer_not_kept":
        return Outcome(status, code, detail, accepted=range(count))
    wait_s = _retry_after_s(headers.get("retry-after"))
    if status in _LATER or status >= 500 or wait_s is not None:
        return Outcome(status, code, detail, retry_after_s=wait_s or 0.0)
    if status < 400 or status in _CALLER_REFUSED or code in _MANGLED:
        return Outcome(status, code or "not_forebay", detail, retry_after_s=REFUSED_WAIT_S)
    if status == 413 and count > 1:
        return Outcome(status, code, detail, is_to_be_split=True)
    # Whoever stands in between refuses for reasons of its own, but for a size: that stays what it is.
    if not is_forebays and status != 413:
        return Outcome(status, "not_forebay", f"{status} without Forebay's code", retry_after_s=REFUSED_WAIT_S)
    rejected = dict.fromkeys(range(count), Rejection(code, detail)) | _rejections(document, count)
    return Outcome(status, code, detail, rejected=rejected)


def no_answer(error: Exception) -> Outcome:
    """The connection could not be made, or broke before the answer."""
    return Outcome(0, "no_answer", f"{type(error).__name__}: {error}", retry_after_s=0.0)


def _settled(status: int, document: Mapping[str, Any], count: int) -> Outcome:
    rejected = _rejections(document, count)
    accepted = [index for index in range(count) if index not in rejected] if rejected else range(count)
    places: dict[int, Place] = {}
    pending = set()
    for event in document.get("events", ()):
        if event["status"] == "Delivered":
            places[event["index"]] = Place(event["topic"], event["partition"], event["offset"])
        elif event["status"] == "Pending":
            pending.add(event["index"])
    return Outcome(status, accepted=accepted, rejected=rejected, places=places, pending=frozenset(pending))


def _rejections(document: Mapping[str, Any], count: int) -> dict[int, Rejection]:
    return {
        error["index"]: Rejection(str(error.get("code", "")), str(error.get("detail", "")))
        for error in document.get("errors", ())
        if error["index"] in range(count)
    }


def _document(body: bytes) -> Mapping[str, Any]:
    """Empty for what is no JSON object: a proxy's own page."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after_s(value: str | None) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _gzip(content: bytes) -> bytes:
    # Level 1 takes a third of the time of the default, for a body a tenth larger.
    return gzip.compress(content, 1, mtime=0)


def _zstd(content: bytes) -> bytes:
    compressed: bytes = zstandard.ZstdCompressor().compress(content)
    return compressed


try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]
