"""From bytes to an outcome that may be answered: the pipeline under the lane lock, then what the sender waits for.

The event path between its sources, requests and connections alike, and the pipeline. Any thread, one request at a time;
`finish` may block until the disk or Kafka has spoken, `accept` holds the lane lock for as long as the pipeline takes.
"""

from collections.abc import Mapping

from ingest.dataplane import documents, metrics
from ingest.dataplane.errors import BadRequest, EventRejected
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.pipeline import Arrival, Decode, count
from ingest.quarantine import Documents, Rejection
from ingest.worker import Worker


def take_in(node: Worker, arrival: Arrival, decode: Decode, taken_apart: Documents, content: bytes) -> Outcome:
    """All of it. Raises Refused; then nothing was accepted."""
    outcome = accept(node, arrival, decode, content)
    finish(node, arrival, taken_apart, content, outcome)
    return outcome


def accept(node: Worker, arrival: Arrival, decode: Decode, content: bytes) -> Outcome:
    """Into the journal. `finish` is owed then. Raises Refused."""
    try:
        with node.lane_lock:
            return node.pipeline.accept(decode, content, arrival)
    except BadRequest as refused:
        if refused.code in EventRejected.codes:
            rejected = {0: EventRejected(refused.code, refused.detail)}
            _quarantine(node, arrival, content, documents.one, rejected)
        raise


def must_wait(node: Worker, outcome: Outcome) -> bool:
    """Whether `finish` blocks."""
    return outcome.wanted_ack or node.commit is not None


def finish(node: Worker, arrival: Arrival, taken_apart: Documents, content: bytes, outcome: Outcome) -> None:
    """Wait for what is asked for, and count. Raises Unavailable when the disk fails."""
    try:
        if outcome.wanted_ack or node.commit is not None:
            _wait(node, arrival.caller.tenant.name, outcome)
    finally:  # what is journaled is delivered, though the disk may fail before its sender is told so
        count(arrival, outcome, len(content))
    if outcome.rejected:
        _quarantine(node, arrival, content, taken_apart, outcome.rejected)


def _quarantine(
    node: Worker, arrival: Arrival, body: bytes, taken_apart: Documents, errors: Mapping[int, EventRejected]
) -> None:
    """For an operator, where the tenant's plan says so; nobody waits for it."""
    tenant, key = arrival.caller.tenant, arrival.caller.key
    if tenant.quarantine != "off":
        rejection = Rejection(
            tenant.name,
            tenant.quarantine,
            key.key_id,
            arrival.dialect,
            arrival.correlation_id,
            body,
            taken_apart,
            errors,
        )
        node.quarantine.offer(rejection)


def _wait(node: Worker, tenant: str, outcome: Outcome) -> None:
    """For the disk, then for what Kafka says, where either is asked for."""
    waits_for = outcome.waits_for
    try:
        if node.commit is not None:
            node.commit.wait(outcome.written)
        if waits_for is not None:
            outcome.take(waits_for.wait(node.ack_timeout_s))
    finally:
        if waits_for is not None:
            node.ack_budget.give_back(tenant)
    if waits_for is not None:
        metrics.ACK_REQUESTS.labels("reported" if waits_for.is_complete else "timed_out").inc()
    elif outcome.wanted_ack:
        metrics.ACK_REQUESTS.labels("not_waited").inc()
