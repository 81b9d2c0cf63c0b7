"""Control plane, pure: every kind of alert, its title and urgency; docs/runbook.md has a section for each."""

from enum import StrEnum


class Kind(StrEnum):
    """What can be wrong. The value is stored, sent, and the anchor of its section in the runbook."""

    BUFFER_FILLING = "buffer_filling"
    BREAKER_NOT_CLOSED = "breaker_not_closed"
    PRODUCE_SLOW = "produce_slow"
    DELIVERY_ERRORS = "delivery_errors"
    LEDGER_MISMATCH = "ledger_mismatch"
    TOPIC_PARKED = "topic_parked"
    TOPIC_BEHIND = "topic_behind"
    DEAD_LETTERS_AGEING = "dead_letters_ageing"
    WORKER_MISSING = "worker_missing"
    JOURNAL_DAMAGED = "journal_damaged"
    DISK_FILLING = "disk_filling"
    SNAPSHOT_BEHIND = "snapshot_behind"
    REDIS_AWAY = "redis_away"
    # Sent by the supervisors themselves (see docs/alerts.md): it says that none of the others would be.
    ALERTS_UNWATCHED = "alerts_unwatched"


TITLES: dict[str, str] = {
    Kind.BUFFER_FILLING: "A buffer is filling up",
    Kind.BREAKER_NOT_CLOSED: "A breaker is not closed",
    Kind.PRODUCE_SLOW: "Kafka acknowledges slowly",
    Kind.DELIVERY_ERRORS: "Too many deliveries fail",
    Kind.LEDGER_MISMATCH: "The ledger does not add up",
    Kind.TOPIC_PARKED: "A topic is parked",
    Kind.TOPIC_BEHIND: "Events for a topic do not leave in time",
    Kind.DEAD_LETTERS_AGEING: "Dead letters wait for somebody",
    Kind.WORKER_MISSING: "A worker is missing",
    Kind.JOURNAL_DAMAGED: "A journal is damaged",
    Kind.DISK_FILLING: "A disk is nearly full",
    Kind.SNAPSHOT_BEHIND: "A worker does not know the latest changes",
    Kind.REDIS_AWAY: "Redis is away",
    Kind.ALERTS_UNWATCHED: "Nobody evaluates the alerts",
}
# Nothing is lost by these before the morning; everything else wakes somebody.
CAN_WAIT = frozenset(
    {Kind.PRODUCE_SLOW, Kind.DELIVERY_ERRORS, Kind.TOPIC_PARKED, Kind.TOPIC_BEHIND, Kind.DEAD_LETTERS_AGEING}
)
# Wall-clock time in seconds of the last evaluation that got to its end; the supervisors read it.
EVALUATED = "forebay:alerts:evaluated"
# Kind -> how many incidents are open, for the workers, which show it as a metric.
OPEN_COUNTS = "forebay:alerts:open"


def severity_of(kind: Kind) -> str:
    """`page` or `ticket`."""
    return "ticket" if kind in CAN_WAIT else "page"


def runbook_link(runbook_url: str, kind: str) -> str:
    """Where it is written what to do."""
    return f"{runbook_url}#{kind}"
