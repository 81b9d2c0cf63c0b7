"""A request that is sent again is answered, not taken, again: by its Idempotency-Key, and event by event by eventId.

HTTP side of the event path; request threads, outside of the lane lock, for tenants whose plan asks for it. A key is
kept with the answer that it had, an eventId with nothing; both are the tenant's own. docs/api.md tells what a sender
sees, and what a crash in between leaves.
"""

import hashlib
import re
import zlib
from types import TracebackType
from typing import Final, NoReturn

import msgspec

from ingest.api.answers import Answer
from ingest.api.claims import PROVISIONAL, Claims, Name, new_mark
from ingest.dataplane import metrics
from ingest.dataplane.errors import BadRequest, Conflict, KeyReused, LengthRequired
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.pipeline import Decode

HEADER: Final = "Idempotency-Status"
# A kept answer is memory of Redis for a day. In this go the results of ten thousand events that waited for Kafka.
ANSWER_MAX_BYTES: Final = 1 << 20
KEPT: Final = b"="
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
_DIGEST_BYTES: Final = 16


class _Kept(msgspec.Struct, array_like=True):
    """An answer as it is kept: its body is compressed, and None where it was too large."""

    status: int
    content_type: str
    body: bytes | None


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Kept).decode


class Once:
    """What one request claims: held from `claim` on, kept by `keep`, and let go of at the end of the block if not."""

    def __init__(self, claims: Claims, tenant: str) -> None:
        self.status = ""
        self.duplicates: frozenset[str] | None = None
        self._claims = claims
        self._tenant = tenant
        self._marks: dict[Name, bytes] = {}
        self._key: Name | None = None
        self._fingerprint = b""
        self._ids: dict[Name, str] = {}

    def name_key(self, text: str, content_length: str, of: tuple[str, ...], content: bytes) -> None:
        """The Idempotency-Key; `of` is what must be the same of the request beside its body. Raises BadRequest,
        LengthRequired."""
        if not _KEY.fullmatch(text):
            raise BadRequest("invalid_idempotency_key", "An Idempotency-Key is 1 to 255 printable ASCII characters")
        if not content_length:
            # The server does not tell a chunked body that ended from one whose connection broke, and a body that was
            # cut would bind the key to itself.
            raise LengthRequired("length_required", "An Idempotency-Key needs a body with a Content-Length")
        self._key = f"forebay:idempotency:{{{self._tenant}}}:{_digest(text.encode()).hex()}".encode()
        self._fingerprint = _digest("\0".join(of).encode() + b"\0", content)
        self._marks[self._key] = new_mark(self._fingerprint)

    def name_events(self, decode: Decode, content: bytes) -> None:
        """The events to which their sender gave an eventId; of a body that will be refused, none."""
        self.duplicates = frozenset()
        try:
            decoded = decode(content, self._claims.max_events)
        except BadRequest:
            return
        if len(decoded.events) > self._claims.max_events:
            return
        prefix = f"forebay:event:{{{self._tenant}}}:".encode()
        given = {event.event_id for event in decoded.events if event.event_id is not None}
        self._ids = {prefix + _digest(event_id.encode()): event_id for event_id in given}
        self._marks |= dict.fromkeys(self._ids, new_mark())

    def claim(self) -> Answer | None:
        """The answer that the same request had before, None for a new one: then `duplicates` names its events that came
        before. Raises Conflict, KeyReused."""
        if not self._marks:
            return None
        held = self._claims.claim(self._marks)
        if held is None:
            self._marks = {}
            self._tell("unchecked")
            return None
        self._marks = {name: mark for name, mark in self._marks.items() if name not in held}
        if self._key is not None and self._key in held:
            return self._answer_again(held[self._key])
        if any(held[name].startswith(PROVISIONAL) for name in self._ids if name in held):
            self._conflict("duplicate_in_progress", "An eventId of it is in a request that has not been answered yet")
        if held:
            self.duplicates = frozenset(self._ids[name] for name in held)
        return None

    def keep(self, outcome: Outcome, answer: Answer) -> None:
        """It was accepted: its key is answered like this from now on, and the eventIds that are in are duplicates."""
        if not self._marks:
            return
        decoded, rejected, dropped = outcome.decoded, outcome.rejected, outcome.dropped
        accepted = {
            event.event_id
            for index, event in zip(decoded.indexes, decoded.events, strict=True)
            if index not in rejected and dropped.get(index) != "duplicate"
        }
        kept = {name: KEPT for name, event_id in self._ids.items() if event_id in accepted and name in self._marks}
        if self._key is not None:
            kept[self._key] = KEPT + self._fingerprint + _packed(answer)
        marks, self._marks = self._marks, {}
        if self._claims.settle(marks, kept):
            metrics.IDEMPOTENCY_REQUESTS.labels("new").inc()
        else:
            self._tell("unchecked")

    def __enter__(self) -> "Once":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """What was refused may come again at once."""
        if self._marks:
            self._claims.settle(self._marks, {})

    def _answer_again(self, held: bytes) -> Answer:
        fingerprint, rest = held[1 : 1 + _DIGEST_BYTES], held[1 + _DIGEST_BYTES :]
        if fingerprint != self._fingerprint:
            metrics.IDEMPOTENCY_REQUESTS.labels("reused").inc()
            raise KeyReused("idempotency_key_reused", "This Idempotency-Key came with another request before")
        if held.startswith(PROVISIONAL):
            self._conflict("idempotency_in_progress", "The first request with this Idempotency-Key is not answered yet")
        kept = _unpack(rest)
        if kept.body is None:
            metrics.IDEMPOTENCY_REQUESTS.labels("not_kept").inc()
            detail = "This request was accepted before; its answer was too large to keep. Do not send it again"
            raise Conflict("idempotency_answer_not_kept", detail)
        self._tell("replayed")
        return Answer(kept.status, zlib.decompress(kept.body), kept.content_type)

    def _tell(self, status: str) -> None:
        self.status = status
        metrics.IDEMPOTENCY_REQUESTS.labels(status).inc()

    def _conflict(self, code: str, detail: str) -> NoReturn:
        metrics.IDEMPOTENCY_REQUESTS.labels("in_progress").inc()
        conflict = Conflict(code, f"{detail}; ask again")
        conflict.retry_after_s = 1.0
        raise conflict


def _packed(answer: Answer) -> bytes:
    body = zlib.compress(answer.body, 1)
    return _pack(_Kept(answer.status, answer.content_type, body if len(body) <= ANSWER_MAX_BYTES else None))


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:_DIGEST_BYTES]
