"""fire_and_forget: records that are produced and not journaled, and lost when that fails; what was lost is counted.

Data plane. The lane produces; reports run on the poll thread. An event is counted when its end is known, so the ledger
adds up even where a killed process takes records with it: these were never counted.
"""

import threading
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message

from ingest.dataplane import metrics
from ingest.dataplane.journal import Journal
from ingest.dataplane.ledger import MINUTE_MS, Account
from ingest.dataplane.metrics import TenantMeter
from ingest.dataplane.segments import Record

REASON = "fire_and_forget"


class Unjournaled:
    """The fire_and_forget records of one request."""

    __slots__ = ("_account", "_ended", "_expected", "_journal", "_lock", "_meter")

    def __init__(self, journal: Journal, meter: TenantMeter, tenant: str, accepted_wall_ms: int) -> None:
        self._journal, self._meter = journal, meter
        self._account = Account(tenant, accepted_wall_ms // MINUTE_MS)
        self._expected = self._ended = 0
        self._lock = threading.Lock()  # a report may come while the lane still produces

    def produce(
        self,
        produce: Callable[..., None],
        records: list[Record],
        accepted_wall_ms: int,
        may_leave: Callable[[str, int], bool],
    ) -> None:
        """Hand over what may leave now; what may not, or finds no room, is dropped."""
        self._expected = len(records)
        for topic, partition, key, value, _ in records:
            try:
                if may_leave(topic, len(value)):
                    produce(topic, value, key or None, partition, self._report, accepted_wall_ms)
                    continue
            except (BufferError, KafkaException):
                pass  # the same as for what may not leave: it is dropped, and counted
            self._end(1)

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            metrics.delivered(message.topic() or "")[0].inc()
        self._end(0 if error is None else 1)

    def _end(self, lost: int) -> None:
        with self._lock:
            self._ended += 1
            account = self._account
            account.received += 1
            account.journaled += 1
            if lost:
                account.dropped[REASON] = account.dropped.get(REASON, 0) + 1
            else:
                account.delivered += 1
            is_last = self._ended == self._expected
        if is_last:
            self._journal.count(account)
            dropped = account.dropped.get(REASON, 0)
            if dropped:
                self._meter.dropped(REASON, dropped)
