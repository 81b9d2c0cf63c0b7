"""What the pages say of one breaker: for all workers together, in each of them, and what failed last. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ingest.breaker_store import SharedStanding
from ingest.console.breakers_look import Look
from ingest.dataplane.breaker import BreakerLimits, State
from ingest.dataplane.faults import VERDICTS, Fault
from ingest.models import OverrideKind

FAILURES_SHOWN = 8
WINDOW_CALLS = BreakerLimits().window_calls
MEANINGS = {
    State.CLOSED: "Everything is sent. It opens when half of the last 10 calls failed, or 5 within 10 s.",
    State.OPEN: "Nothing is sent, events wait in the journals. After a while a few trials are made.",
    State.HALF_OPEN: "Three trials decide whether it closes; all else waits in the journals.",
    State.FORCED_OPEN: "Nothing is sent until somebody resets it; events wait in the journals.",
    State.DISABLED: "Everything is sent, whatever fails, until somebody resets it.",
}
_OFFERED = {
    State.CLOSED: (OverrideKind.FORCED_OPEN, OverrideKind.DISABLED),
    State.OPEN: (OverrideKind.RESET, OverrideKind.FORCED_OPEN, OverrideKind.DISABLED),
    State.HALF_OPEN: (OverrideKind.RESET, OverrideKind.FORCED_OPEN, OverrideKind.DISABLED),
    State.FORCED_OPEN: (OverrideKind.RESET, OverrideKind.DISABLED),
    State.DISABLED: (OverrideKind.RESET, OverrideKind.FORCED_OPEN),
}
BUTTONS = {
    OverrideKind.FORCED_OPEN: "Force open",
    OverrideKind.DISABLED: "Disable",
    OverrideKind.RESET: "Reset",
    OverrideKind.PARKED: "Park",
    OverrideKind.RESUMED: "Resume",
}


class InWorker(NamedTuple):
    """A breaker as one worker has it. Without a report it is closed there, and nothing is known of its calls."""

    worker: str
    state: State
    since: datetime | None
    known: int
    failed: int
    is_missing: bool = False


class Failure(NamedTuple):
    """Calls that failed at once in one worker."""

    at: datetime
    worker: str
    calls: int
    code: str
    fault: str


class BreakerFacts(NamedTuple):
    """One breaker: for all workers together, and in each."""

    standing: SharedStanding
    since: datetime | None
    meaning: str
    offered: Sequence[tuple[str, str]]
    in_workers: Sequence[InWorker]
    failures: Sequence[Failure]


def breaker_facts(look: Look, topic: str) -> BreakerFacts:
    """The breaker of a topic, the cluster's under the empty name."""
    standing = look.standing(topic)
    in_workers = [_in_worker(one.name, look, topic) for one in look.heard]
    gone = [InWorker(one.name, State.CLOSED, None, 0, 0, is_missing=True) for one in look.missing]
    offered = [(kind.value, BUTTONS[kind]) for kind in _OFFERED[standing.state]]
    return BreakerFacts(
        standing, since_of(standing), MEANINGS[standing.state], offered, [*in_workers, *gone], _failures(look, topic)
    )


def faults_of(why: str) -> str:
    """Whose fault codes are, as docs/faults.md has it; calls without a report are the cluster's."""
    faults = {VERDICTS[code].fault if code in VERDICTS else Fault.CLUSTER for code in why.split("/") if code}
    return ", ".join(sorted(faults))


def _in_worker(name: str, look: Look, topic: str) -> InWorker:
    report = look.breakers.get(name)
    told = report.of(topic) if report else None
    if told is None:
        return InWorker(name, State.CLOSED, None, 0, 0)
    return InWorker(name, told.state, moment(told.since_wall_ms), told.known, told.failed)


def _failures(look: Look, topic: str) -> list[Failure]:
    found = [
        Failure(moment(one.at_wall_ms), name, one.calls, one.why, faults_of(one.why))
        for name, report in look.breakers.items()
        if (told := report.of(topic))
        for one in told.failures
    ]
    return sorted(found, key=lambda failure: failure.at, reverse=True)[:FAILURES_SHOWN]


def since_of(standing: SharedStanding) -> datetime | None:
    """Since when it stands there; None where it never moved."""
    return moment(standing.since_wall_ms) if standing.epoch else None


def moment(wall_ms: int) -> datetime:
    """Of the wall's clock."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC)
