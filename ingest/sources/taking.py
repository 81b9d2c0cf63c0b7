"""Windows into the pipeline, for a sender that can be made to wait: what is refused for now is offered again.

Sources; the loop's thread. Nothing is read from the sender meanwhile, which is the backpressure. The pipeline runs on
the loop itself, for a few milliseconds a window; what waits for disk, Kafka or Redis does so on a thread.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from ingest import intake
from ingest.api.answers import Answer
from ingest.api.idempotency import Once
from ingest.dataplane import metrics
from ingest.dataplane.acks import Place
from ingest.dataplane.errors import Conflict, EventRejected, Refused, Throttled, TooLarge, Unavailable, quota_refused
from ingest.dataplane.event import Decoded
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.pipeline import Arrival
from ingest.sources.interruptible import Interruptible
from ingest.worker import Worker

SHORTEST_WAIT_S: Final = 0.05
# A quota may be raised and a journal drained at any time, so a long wait is looked at again.
LONGEST_WAIT_S: Final = 5.0
TELL_AGAIN_S: Final = 10.0


class Window(NamedTuple):
    """Documents of one sender; `decode` gets some of them and the sequence of the first."""

    documents: Sequence[bytes]
    first: int
    decode: Callable[[Sequence[bytes], int], Decoded]

    def smaller(self, refused: TooLarge) -> "list[Window]":
        """Parts of which each may pass a burst that this does not; a document that never can is rejected."""
        count = len(self.documents)
        if count == 1:
            error = EventRejected("event_too_large", refused.detail)
            return [Window((b"",), self.first, lambda documents, first: Decoded([], (), {0: error}))]
        burst = refused.extra["burst"] if refused.extra["what"] != "bytes_per_s" else count // 2
        step = max(1, min(burst, count - 1))
        return [Window(self.documents[at : at + step], self.first + at, self.decode) for at in range(0, count, step)]


@dataclass
class Taken:
    """What became of a window so far: `events` of it, from the first on, are accepted or rejected.

    `rejected` by sequence, with the eventId where it is known. `pending` counts what Kafka was asked about and has not
    confirmed.
    """

    events: int = 0
    accepted: int = 0
    dropped: int = 0
    pending: int = 0
    rejected: dict[int, tuple[str | None, EventRejected]] = field(default_factory=dict)

    def add(self, window: Window, outcome: Outcome) -> None:
        """One part is through."""
        self.events += len(window.documents)
        self.accepted += outcome.accepted
        self.dropped += len(outcome.dropped)
        if outcome.wanted_ack:
            delivered = sum(isinstance(result, Place) for result in outcome.results.values())
            self.pending += sum(index not in outcome.rejected for index in outcome.record_indexes) - delivered
        if outcome.rejected:
            ids = dict(zip(outcome.decoded.indexes, (one.event_id for one in outcome.decoded.events), strict=True))
            for index, error in sorted(outcome.rejected.items()):
                self.rejected[window.first + index] = (ids.get(index), error)


class Taker:
    """For one sender. `arrival` asks anew with each try who sends: keys and quotas change under a long connection.

    `tell` hears of a refusal that is waited out, once for each reason and then seldom.
    """

    def __init__(
        self,
        node: Worker,
        waits: Interruptible,
        tell: Callable[[Refused], Awaitable[None]],
        *,
        journal_ratio: float,
    ) -> None:
        self._node = node
        self._waits = waits
        self._tell = tell
        self._journal_ratio = journal_ratio
        self._told = ""
        self._told_at_s = 0.0

    async def take(self, window: Window, arrival: Callable[[], Arrival], taken: Taken) -> None:
        """All of it, however long that takes; `taken` grows meanwhile. Raises what ends the wait, and a refusal that
        waiting does not help: the key is revoked, the tenant suspended."""
        parts = deque([window])
        while parts:
            try:
                sender = arrival()
                self._check_room(sender)
                await offer_first(self._node, parts, sender, taken)
            except (Throttled, Unavailable, Conflict) as refused:
                await self._wait_out(refused)
            else:
                self._told = ""

    def _check_room(self, arrival: Arrival) -> None:
        """Before anything is decoded: whoever waits, perhaps a thousand of one tenant, asks cheaply."""
        refusal = arrival.allowance.exhausted()
        if refusal is not None:
            raise quota_refused(refusal, arrival.caller.tenant.name)
        journal = self._node.engine.journal
        if journal.used_bytes > self._journal_ratio * journal.max_bytes and self._node.engine.drain.pending:
            raise Unavailable("journal_behind", "Kafka is behind; the rest of the journal is for those who cannot wait")

    async def _wait_out(self, refused: Refused) -> None:
        if refused.code != self._told and isinstance(refused, Throttled):
            self._node.throttles.add(refused)
        if refused.code != self._told or time.monotonic() - self._told_at_s > TELL_AGAIN_S:
            self._told, self._told_at_s = refused.code, time.monotonic()
            metrics.LISTEN_WAITS.labels(refused.code).inc()
            await self._tell(refused)
        wait_s = min(max(refused.retry_after_s or 0.0, SHORTEST_WAIT_S), LONGEST_WAIT_S)
        # Not all at the same moment.
        await self._waits.pause(wait_s * random.uniform(1.0, 1.2))


async def offer_first(node: Worker, parts: deque[Window], arrival: Arrival, taken: Taken) -> None:
    """One try of the first part: it is through, or in its place are smaller ones. Raises Refused; then it stays."""
    try:
        outcome = await _offer(node, parts[0], arrival)
    except TooLarge as refused:
        parts.extendleft(reversed(parts.popleft().smaller(refused)))
    else:
        taken.add(parts.popleft(), outcome)


async def offer_all(node: Worker, window: Window, arrival: Arrival, taken: Taken) -> None:
    """For a sender that cannot wait: all parts, until one is refused. Raises Refused."""
    parts = deque([window])
    while parts:
        await offer_first(node, parts, arrival, taken)


async def _offer(node: Worker, window: Window, arrival: Arrival) -> Outcome:
    documents = window.documents
    content = b"\n".join(documents)

    def decode(body: bytes, most: int) -> Decoded:
        return window.decode(documents, window.first)

    def taken_apart(body: bytes) -> Sequence[bytes]:
        return documents

    if arrival.caller.tenant.deduplicates:
        return await asyncio.to_thread(_take_once, node, arrival, decode, taken_apart, content)
    outcome = intake.accept(node, arrival, decode, content)
    if intake.must_wait(node, outcome):
        await asyncio.to_thread(intake.finish, node, arrival, taken_apart, content, outcome)
    else:
        intake.finish(node, arrival, taken_apart, content, outcome)
    return outcome


def _take_once(
    node: Worker,
    arrival: Arrival,
    decode: Callable[[bytes, int], Decoded],
    taken_apart: Callable[[bytes], Sequence[bytes]],
    content: bytes,
) -> Outcome:
    """For tenants whose plan drops what came before."""
    with Once(node.claims, arrival.caller.tenant.name) as once:
        once.name_events(decode, content)
        once.claim()
        arrival = msgspec.structs.replace(arrival, duplicates=once.duplicates)
        outcome = intake.take_in(node, arrival, decode, taken_apart, content)
        once.keep(outcome, _NO_ANSWER)
    return outcome


# Kept only with an Idempotency-Key, which no window has.
_NO_ANSWER = Answer(202, b"")
