"""fire_and_forget: records that are produced and not journaled, and lost when that fails; what was lost is counted.

Data plane. The lane produces; reports run on the poll thread. An event is counted when its end is known, so the ledger
adds up even where a killed process takes records with it: these were never counted.
"""

import threading
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from ingest.dataplane import metrics
from ingest.dataplane.flow import Line, Trial
from ingest.dataplane.flows import Flows
from ingest.dataplane.journal import Journal
from ingest.dataplane.ledger import MINUTE_MS, Account
from ingest.dataplane.metrics import TenantMeter
from ingest.dataplane.segments import Record

REASON = "fire_and_forget"
_FULL = KafkaError(KafkaError._QUEUE_FULL)


class Unjournaled:
    """The fire_and_forget records of one request."""

    __slots__ = ("_account", "_ended", "_expected", "_flows", "_journal", "_lock", "_meter")

    def __init__(self, flows: Flows, journal: Journal, meter: TenantMeter, tenant: str, accepted_wall_ms: int) -> None:
        self._flows, self._journal, self._meter = flows, journal, meter
        self._account = Account(tenant, accepted_wall_ms // MINUTE_MS)
        self._expected = self._ended = 0
        self._lock = threading.Lock()  # a report may come while the lane still produces

    def produce(self, records: list[Record], accepted_wall_ms: int, leaving: Callable[[str, int], Line | None]) -> None:
        """Hand over what may leave now; what may not, or finds no room, is dropped. `leaving` says where it counts."""
        produce, trial = self._flows.produce, self._flows.trial
        self._expected = len(records)
        for topic, partition, key, value, _ in records:
            size_bytes = len(value)
            line = leaving(topic, size_bytes)
            if line is None:
                self._end(1)
                continue
            line.forget(size_bytes, line.instance)
            report = partial(self._report, line, line.instance, size_bytes, trial(line))
            try:
                produce(topic, value, key or None, partition, report, accepted_wall_ms)
            except BufferError:  # the same as for what may not leave: it is dropped, and counted
                report(_FULL, None)
            except KafkaException as error:
                report(error.args[0], None)

    def _report(
        self,
        line: Line,
        instance: int,
        size_bytes: int,
        trial: Trial | None,
        error: KafkaError | None,
        message: Message | None,
    ) -> None:
        line.forget(-size_bytes, instance)
        if trial is not None:
            self._flows.ended_trials.append((trial, error))
        if error is None:
            metrics.delivered(line.topic)[0].inc()
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
