"""What the journals' page says of each worker, tenant and file, and what to do about it in a sentence. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ingest.console.ages import age_in_words, age_of_minute
from ingest.console.breakers_facts import moment
from ingest.console.breakers_look import Look
from ingest.console.breakers_topics import Waiting, waiting_of
from ingest.dataplane.breaker import State
from ingest.dataplane.policy import UnusableTopic
from ingest.heartbeats import WorkerStatus
from ingest.journal_reports import JournalReport, JournalsReport, TenantReport
from ingest.unusable_topics import in_words, is_overdue, what_to_do

FULL_RATIO = 0.8
DISK_FULL_RATIO = 0.9


class Advice(NamedTuple):
    """What to do, and the command that does it or shows more. Nothing: all is as it should be."""

    text: str
    command: str = ""


class WorkerRow(NamedTuple):
    """One worker, heard or missing, with its own journal and those it has adopted."""

    worker: str
    heard: str
    is_missing: bool
    journals: Sequence[JournalReport]
    used_bytes: int
    used_ratio: float
    unsettled: int
    pending: int
    oldest: str
    fsync: str
    disk_free_bytes: int
    disk_ratio: float
    advice: Advice

    @property
    def used_percent(self) -> int:
        """Of what it may take."""
        return min(100, round(self.used_ratio * 100))

    @property
    def level(self) -> str:
        """For the colour of its meter."""
        return "fb-bad" if self.used_ratio > FULL_RATIO else "fb-warn" if self.used_ratio > FULL_RATIO / 2 else ""


class TenantRow(NamedTuple):
    """What one tenant has in the journal of one worker; `share_percent` is of what it may take beside others."""

    tenant: str
    worker: str
    live_bytes: int
    share_percent: int
    events: int
    oldest: str
    advice: Advice


class BehindRow(NamedTuple):
    """A tenant's events for a topic that wait, with what to do about it."""

    waiting: Waiting
    advice: Advice


class AsideRow(NamedTuple):
    """A file that was set aside."""

    node: str
    path: str
    size_bytes: int
    at: datetime
    advice: Advice


def worker_rows(look: Look) -> list[WorkerRow]:
    """The missing first, then by name."""
    missing = [_worker_row(one, look.last_words.get(one.name), look, is_missing=True) for one in look.missing]
    return [*missing, *(_worker_row(one, look.journals.get(one.name), look) for one in look.heard)]


def tenant_rows(look: Look) -> list[TenantRow]:
    """Whoever takes most first."""
    rows = [
        TenantRow(
            tenant=one.tenant,
            worker=worker,
            live_bytes=one.live_bytes,
            share_percent=round(100 * one.live_bytes / told.share_bytes) if told.share_bytes else 0,
            events=one.events,
            oldest=age_of_minute(one.oldest_minute, look.wall_s),
            advice=_about_tenant(one, told),
        )
        for worker, told in look.journals.items()
        for one in told.tenants
    ]
    return sorted(rows, key=lambda row: (-row.live_bytes, row.tenant, row.worker))


def behind_rows(look: Look, overdue_s: float) -> list[BehindRow]:
    """As `waiting_of`; what is not parked has waited too long after `overdue_s`."""
    minutes = {(one.tenant, one.topic): one.oldest_minute for one in look.backlogs}
    rows = []
    for one in waiting_of(look):
        is_late = is_overdue(minutes.get((one.tenant, one.topic)), look.wall_s, overdue_s)
        rows.append(BehindRow(one, _about_waiting(one, look, is_overdue=is_late)))
    return rows


def aside_rows(look: Look) -> list[AsideRow]:
    """Each file once, though all workers of its node tell of it; the newest first."""
    rows = {
        (told.node, file.path): AsideRow(
            told.node, file.path, file.size_bytes, moment(file.at_wall_ms), _about_file(told.node, file.path)
        )
        for told in look.journals.values()
        for file in told.files
    }
    return sorted(rows.values(), key=lambda row: row.at, reverse=True)


def advice_about_lost(journal: str, node: str, *, is_closed: bool) -> Iterator[Advice]:
    """A journal without a worker: the likely case first."""
    how = "ended in order" if is_closed else "went away"
    yield Advice(
        f"Its worker {how}, and no other has taken it over. Start {node} again with the same directory, or deliver what"
        " is in it without a web server:",
        "manage.py journal drain",
    )
    yield Advice(
        "Its disk is lost for good: count what waited there as discarded.",
        f'manage.py ledger_check --give-up {shlex.quote(journal)} --reason "…"',
    )


def _worker_row(
    status: WorkerStatus, told: JournalsReport | None, look: Look, *, is_missing: bool = False
) -> WorkerRow:
    journals = told.journals if told else ()
    minutes = [one.oldest_minute for one in journals if one.oldest_minute is not None]
    return WorkerRow(
        worker=status.name,
        heard=f"{age_in_words(look.wall_s - status.seen_wall_s)} ago" if is_missing else "now",
        is_missing=is_missing,
        journals=journals,
        used_bytes=status.journal_used_bytes,
        used_ratio=status.journal_used_bytes / status.journal_max_bytes if status.journal_max_bytes else 0.0,
        unsettled=sum(one.unsettled for one in journals),
        pending=status.journal_pending_events,
        oldest=age_of_minute(min(minutes, default=None), look.wall_s),
        fsync=told.fsync if told else "",
        disk_free_bytes=status.disk_free_bytes,
        disk_ratio=_disk_ratio(status),
        advice=_about_worker(status, told, look.unusable, is_missing=is_missing),
    )


def _about_worker(
    status: WorkerStatus, told: JournalsReport | None, unusable: Mapping[str, UnusableTopic], *, is_missing: bool
) -> Advice:
    """What is most urgent."""
    name = shlex.quote(told.journals[0].name) if told and told.journals else "NAME"
    if is_missing:
        directory = shlex.quote(told.directory) if told else "DIRECTORY"
        return Advice(
            f"Start {status.node} again: a worker of it takes this journal over within seconds. Where only its disk is"
            " left, attach it elsewhere and there",
            f"FOREBAY_JOURNAL_DIR={directory} manage.py journal drain",
        )
    if _disk_ratio(status) > DISK_FULL_RATIO:
        return Advice("Its disk is nearly full: make room, but remove no .segment.", "manage.py journal list")
    if status.journal_max_bytes and status.journal_used_bytes > FULL_RATIO * status.journal_max_bytes:
        return Advice(
            "More comes in than Kafka takes: at 100 % senders get 503. Mend Kafka or lower a quota; where the disk has"
            " room, raise FOREBAY_JOURNAL_MAX_BYTES.",
            "manage.py journal list",
        )
    if told and any(flow.parked for flow in told.flows):
        return Advice("Events are parked: resume them when their topic takes them.", "manage.py topic parked")
    if stuck := sorted({flow.topic for flow in told.flows if flow.topic in unusable} if told else ()):
        topic, more = unusable[stuck[0]], f" (and {len(stuck) - 1} more)" if len(stuck) > 1 else ""
        return Advice(
            f"Topic {topic.name}{more} cannot be used: {in_words(topic)}. {what_to_do(topic)} Its events then leave.",
            f"manage.py journal show {name}",
        )
    if status.journal_pending_events:
        return Advice("They leave by themselves, the oldest first. To look at them:", f"manage.py journal show {name}")
    return Advice("")


def _about_tenant(one: TenantReport, told: JournalsReport) -> Advice:
    if told.share_bytes and one.live_bytes >= told.share_bytes:
        return Advice(
            "Over its share: it alone gets 503 while others send. Mend what it waits for, or lower its quota."
        )
    if any(flow.tenant == one.tenant for flow in told.flows):
        return Advice("Its events wait. Who is behind, below, says what for.")
    return Advice("Nothing: these are on their way.")


def _about_waiting(one: Waiting, look: Look, *, is_overdue: bool) -> Advice:
    """By what holds them; in the order in which `waiting_of` looks for it."""
    if one.is_parked:
        where = f"{shlex.quote(one.tenant)} {shlex.quote(one.topic)}"
        return Advice("Mend what Kafka refuses, then let them go:", f'manage.py topic resume {where} --reason "…"')
    for topic in ("", one.topic):
        state, option = look.standing(topic).state, f" --topic {shlex.quote(topic)}" if topic else ""
        if state is State.FORCED_OPEN:
            return Advice("Somebody holds them until it is reset:", f'manage.py breaker reset{option} --reason "…"')
        if state not in (State.CLOSED, State.DISABLED):
            return Advice("They leave when the trials succeed: is Kafka well?", "manage.py breaker status")
    if one.topic in look.unusable:
        return Advice(f"{what_to_do(look.unusable[one.topic])} They leave by themselves then.")
    if look.header and one.topic not in look.partitions:
        return Advice("Create the topic, or correct the rule that names it. They leave by themselves then.")
    if is_overdue:
        return Advice("After an outage it passes. Else look at the topic's partitions and their leaders.")
    return Advice("Nothing: they leave by themselves.")


def _about_file(node: str, path: str) -> Advice:
    return Advice(
        f"Look at the disk of {node}, then put what can be read of it in line again; what was delivered before is sent"
        " twice, under the same eventId.",
        f"manage.py journal requeue {shlex.quote(path)}",
    )


def _disk_ratio(status: WorkerStatus) -> float:
    return 1 - status.disk_free_bytes / status.disk_total_bytes if status.disk_total_bytes else 0.0
