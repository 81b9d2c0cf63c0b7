"""Rejected events of tenants whose plan keeps them: hashed or redacted, on one writer thread a worker, into a table.

Control plane's side of a worker. Request threads offer what they have answered and never wait: over a tenant's share of
a minute, with a full queue or without a database the event is not kept, and counted. Nothing of it is promised.
"""

import hashlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import msgspec
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from ingest.dataplane import metrics
from ingest.dataplane.errors import EventRejected
from ingest.dataplane.redaction import redact
from ingest.models import QuarantinedEvent
from tenants.models import Quarantine as Kept

log = logging.getLogger(__name__)

QUEUE_MAX_BYTES: Final = 16 << 20
TEXT_MAX_CHARACTERS: Final = 8 * 1024
# What is masked is looked for a little beyond the cut, so that no secret across it shows its beginning.
_LOOKED_AT_BYTES: Final = 12 * 1024
_MINUTE_S: Final = 60
_STOP_S: Final = 5.0

Documents = Callable[[bytes], Iterable[bytes | msgspec.Raw]]
Write = Callable[[list[QuarantinedEvent]], None]


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """What was rejected of one request: `errors` by index into what `documents` makes of `body`."""

    tenant: str
    kept: str
    key_id: int
    dialect: str
    correlation_id: str
    body: bytes
    documents: Documents
    errors: Mapping[int, EventRejected]


class Quarantine:
    """One per worker. `offer` is for request threads; `write` stores rows and may raise DatabaseError."""

    def __init__(
        self,
        write: Write,
        *,
        events_per_minute: int,
        queue_max_bytes: int = QUEUE_MAX_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._events_per_minute = events_per_minute
        self._queue_max_bytes = queue_max_bytes
        self._wall_clock = wall_clock
        self._queue: deque[tuple[float, Rejection]] = deque()
        self._queued_bytes = 0
        self._minute = 0
        self._taken: Counter[str] = Counter()
        self._stopping = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="quarantine", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, but do not wait for a database that does not answer."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join(_STOP_S)

    def offer(self, rejection: Rejection) -> None:
        """Keep what the tenant's minute and the queue have room for. Never blocks."""
        with self._condition:
            wall_s = self._wall_clock()
            room = self._room(rejection.tenant, wall_s)
            errors = dict(islice(sorted(rejection.errors.items()), room)) if room else {}
            _count_dropped("rate", len(rejection.errors) - len(errors))
            if not errors:
                return
            if self._queued_bytes + len(rejection.body) > self._queue_max_bytes:
                _count_dropped("queue_full", len(errors))
                return
            self._taken[rejection.tenant] += len(errors)
            self._queued_bytes += len(rejection.body)
            self._queue.append((wall_s, msgspec.structs.replace(rejection, errors=errors)))
            self._condition.notify()

    def _room(self, tenant: str, wall_s: float) -> int:
        minute = int(wall_s) // _MINUTE_S
        if minute != self._minute:
            self._minute = minute
            self._taken.clear()
        return self._events_per_minute - self._taken[tenant]

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            try:
                self._keep(*taken)
            except Exception:  # one body that cannot be kept must not end the keeping of all others
                log.exception("rejected events of %s are not kept", taken[1].tenant)
                _count_dropped("failed", len(taken[1].errors))

    def _next(self) -> tuple[float, Rejection] | None:
        """The oldest in the queue, as soon as there is one; None at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._stopping)
            if not self._queue:
                return None
            taken = self._queue.popleft()
            self._queued_bytes -= len(taken[1].body)
            return taken

    def _keep(self, wall_s: float, rejection: Rejection) -> None:
        rows = list(_rows(rejection, datetime.fromtimestamp(wall_s, UTC)))
        try:
            self._write(rows)
        except DatabaseError as error:
            log.warning("%d rejected events of %s are not kept: %s", len(rows), rejection.tenant, error)
            _count_dropped("database", len(rows))
        else:
            metrics.QUARANTINED_EVENTS.labels(rejection.kept).inc(len(rows))


def open_quarantine() -> Quarantine:
    """Into the database, as much as the settings say."""
    return Quarantine(_write_rows, events_per_minute=settings.FOREBAY_QUARANTINE_EVENTS_PER_MINUTE)


def _write_rows(rows: list[QuarantinedEvent]) -> None:
    """Over a connection that is not kept between two of these."""
    close_old_connections()
    try:
        QuarantinedEvent.objects.bulk_create(rows, batch_size=200)
    finally:
        close_old_connections()


def _rows(rejection: Rejection, received_at: datetime) -> Iterator[QuarantinedEvent]:
    last = max(rejection.errors)
    for index, document in enumerate(islice(rejection.documents(rejection.body), last + 1)):
        error = rejection.errors.get(index)
        if error is not None:
            sent = bytes(document).strip()
            yield QuarantinedEvent(
                tenant=rejection.tenant,
                key_id=rejection.key_id,
                received_at=received_at,
                dialect=rejection.dialect,
                correlation_id=rejection.correlation_id,
                index=index,
                code=error.code,
                size_bytes=len(sent),
                **_kept(rejection.kept, sent, error),
            )


def _kept(kept: str, sent: bytes, error: EventRejected) -> dict[str, str]:
    """The detail may quote the event, so it is masked like it, or not kept at all."""
    if kept == Kept.HASH:
        return {"sha256": hashlib.sha256(sent).hexdigest()}
    return {"detail": _text(error.detail.encode(errors="replace")), "text": _text(sent)}


def _text(sent: bytes) -> str:
    """What is masked of it and cut. PostgreSQL takes no NUL in a text."""
    text = redact(sent[:_LOOKED_AT_BYTES].decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"))
    return text if len(text) <= TEXT_MAX_CHARACTERS else text[: TEXT_MAX_CHARACTERS - 1] + "…"


def _count_dropped(reason: str, events: int) -> None:
    if events:
        metrics.QUARANTINE_DROPPED_EVENTS.labels(reason).inc(events)
