"""A record that Kafka will not take, as the data plane hands it to whoever keeps dead letters.

Data plane; pure. It stays in the journal until it is kept elsewhere.
"""

import msgspec

from ingest.dataplane.faults import Fault
from ingest.dataplane.journal import Origin
from ingest.dataplane.segments import Record


class DeliveryAttempt(msgspec.Struct, frozen=True, gc=False):
    """One time that Kafka, or librdkafka, refused it."""

    wall_ms: int
    code: str
    detail: str


class Undeliverable(msgspec.Struct, frozen=True, gc=False):
    """`origin` and `index` say where it is in which journal; `policy_version` is that of the rules that routed it."""

    origin: Origin
    index: int
    tenant: str
    accepted_wall_ms: int
    policy_version: int
    record: Record
    fault: Fault
    attempts: tuple[DeliveryAttempt, ...]

    @property
    def journal_name(self) -> str:
        """The uuid of its journal."""
        return self.origin[0].name

    @property
    def sequence(self) -> int:
        """Its own number in its journal: with the journal's name, what it is known by."""
        return self.origin[2] + self.index
