"""A look at workers that a test makes up, as Redis would have told it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.breaker_reports import BreakerReport, BreakersReport
from ingest.breaker_store import SharedStanding
from ingest.console.breakers_look import Look, backlogs
from ingest.dataplane.breaker import State
from ingest.dataplane.policy import Header, RulePolicy, TopicPolicy, UnusableTopic
from ingest.heartbeats import WorkerStatus
from ingest.journal_reports import FileReport, FlowReport, JournalReport, JournalsReport, TenantReport
from ingest.parked import ParkedEntry

NOW_WALL_S = 1_900_000_000.0
NOW_WALL_MS = int(NOW_WALL_S * 1000)
MINUTE = int(NOW_WALL_S // 60)
GIB = 1 << 30
TOO_SMALL = UnusableTopic("pictures", "too_small", takes_bytes=2_000, batch_bytes=1_000_000)


@dataclass
class Platform:
    """What is told; `look()` is what a page sees of it."""

    heard: list[WorkerStatus] = field(default_factory=list)
    missing: list[WorkerStatus] = field(default_factory=list)
    standings: list[SharedStanding] = field(default_factory=list)
    parked: list[ParkedEntry] = field(default_factory=list)
    breakers: dict[str, BreakersReport] = field(default_factory=dict)
    journals: dict[str, JournalsReport] = field(default_factory=dict)
    topics: dict[str, int] = field(default_factory=dict)
    rules: Sequence[RulePolicy] = ()
    unusable: Sequence[UnusableTopic] = ()

    def look(self) -> Look:
        gone = {one.name for one in self.missing}
        topics = tuple(TopicPolicy(name, partitions, 1 << 20) for name, partitions in self.topics.items())
        told = {name: report for name, report in self.journals.items() if name not in gone}
        return Look(
            wall_s=NOW_WALL_S,
            heard=self.heard,
            missing=self.missing,
            standings={one.topic: one for one in self.standings},
            parked=self.parked,
            breakers=self.breakers,
            journals=told,
            last_words={name: report for name, report in self.journals.items() if name in gone},
            backlogs=backlogs(flow for report in told.values() for flow in report.flows),
            header=Header(1, NOW_WALL_MS, tuple(self.rules), topics, (), 0, 0),
            partitions=self.topics,
            fresh=(),
            unusable={one.name: one for one in self.unusable},
        )


def worker(pid: int = 1, **facts: object) -> WorkerStatus:
    told = {
        "started_wall_s": 0.0,
        "journal_max_bytes": 2 * GIB,
        "disk_free_bytes": 50 * GIB,
        "disk_total_bytes": 100 * GIB,
    } | facts
    seen_wall_s = NOW_WALL_S - 300 if told.pop("is_missing", False) else NOW_WALL_S
    return WorkerStatus(node="node-1", pid=pid, seen_wall_s=seen_wall_s, **told)  # type: ignore[arg-type]  # of a test


def standing(topic: str, state: State, *, since_s: int = 60, cause: str = "", by: str = "") -> SharedStanding:
    return SharedStanding(topic, state, 3, NOW_WALL_MS - since_s * 1000, cause, by)


def breakers(*reports: BreakerReport) -> BreakersReport:
    return BreakersReport(NOW_WALL_MS, reports)


def parked(tenant: str, topic: str, pending: int = 7) -> ParkedEntry:
    return ParkedEntry(
        tenant=tenant,
        topic=topic,
        code="TOPIC_AUTHORIZATION_FAILED",
        detail="Broker: Topic authorization failed",
        since_wall_ms=NOW_WALL_MS - 60_000,
        pending=pending,
    )


def journals(
    *flows: FlowReport,
    tenants: Sequence[TenantReport] = (),
    files: Sequence[FileReport] = (),
    own: JournalReport | None = None,
    flows_behind: int | None = None,
) -> JournalsReport:
    return JournalsReport(
        at_wall_ms=NOW_WALL_MS,
        node="node-1",
        directory="/var/lib/forebay/journal",
        fsync="interval",
        max_bytes=2 * GIB,
        share_bytes=GIB // 4,
        disk_free_bytes=50 * GIB,
        disk_total_bytes=100 * GIB,
        journals=(own or JournalReport("5f2f2ca5", 4096, 0, 0, None),),
        tenants=tuple(tenants),
        flows=flows,
        flows_behind=len(flows) if flows_behind is None else flows_behind,
        files=tuple(files),
        files_aside=len(files),
    )
