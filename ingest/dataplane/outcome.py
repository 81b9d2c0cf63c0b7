"""What the pipeline did with a request, as the protocols need it for their answers. Data plane; made once a request."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.dataplane.acks import Acknowledgements
from ingest.dataplane.errors import EventRejected
from ingest.dataplane.event import Decoded


@dataclass(slots=True)
class Outcome:
    """What became of a request's events, by index where it matters."""

    received_at: str
    decoded: Decoded
    accepted: int
    rejected: dict[int, EventRejected]
    waits_for: Acknowledgements | None = None
    wanted_ack: bool = False
    record_indexes: Sequence[int] = ()
