"""What the pipeline did with a request, as the protocols need it for their answers. Data plane; made once a request."""

from collections.abc import Mapping, Sequence

import msgspec

from ingest.dataplane.acks import Acknowledgements, Place, Result
from ingest.dataplane.errors import EventRejected
from ingest.dataplane.event import Decoded
from ingest.dataplane.faults import Fault, fault_of


class Outcome(msgspec.Struct, gc=False):
    """What became of a request's events, by index where it matters. `results` are by position among its records.
    `written` counts the journal's writes up to this request's."""

    received_at: str
    decoded: Decoded
    accepted: int
    rejected: dict[int, EventRejected]
    dropped: dict[int, str]
    wanted_ack: bool
    record_indexes: Sequence[int] = ()
    waits_for: Acknowledgements | None = None
    written: int = 0
    results: Mapping[int, Result] = msgspec.field(default_factory=dict)

    def take(self, results: Mapping[int, Result]) -> None:
        """What Kafka said in time. What it refused for good is a rejection like any other: the sender is told."""
        self.results = results
        for position, result in results.items():
            if not isinstance(result, Place) and fault_of(result.code()) is Fault.RECORD:
                index = self.record_indexes[position]
                self.rejected[index] = EventRejected("undeliverable", f"Kafka refused it: {result.str()}")
                self.accepted -= 1
