"""What a worker tells of its journals: who takes how much of them, what waits for how long, which files were set aside.

Written by the chores' thread of each worker, once a second, beside its heartbeat; read by the console. Ages are known
to the minute, for that costs no look into a file. The lane lock is held for a glance at the flows that are told of.
"""

import heapq
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path

import msgspec
from django.conf import settings
from redis import Redis

from ingest.dataplane.flow import Flow
from ingest.dataplane.flows import Flows
from ingest.dataplane.journal import Journal
from ingest.dataplane.ledger import Account
from ingest.heartbeats import JOURNALS, told

TOLD_TENANTS = TOLD_FLOWS = TOLD_FILES = TOLD_JOURNALS = 50


class JournalReport(msgspec.Struct, frozen=True):
    """One journal: of `unsettled` events, `pending` ones wait for the drain."""

    name: str
    used_bytes: int
    unsettled: int
    pending: int
    oldest_minute: int | None
    is_adopted: bool = False


class TenantReport(msgspec.Struct, frozen=True):
    """What one tenant has in the worker's own journal."""

    tenant: str
    live_bytes: int
    events: int
    oldest_minute: int | None


class FlowReport(msgspec.Struct, frozen=True):
    """A tenant's events for a topic that wait; `parked` is the code for which they do, if they wait for an operator."""

    tenant: str
    topic: str
    events: int
    oldest_minute: int | None
    parked: str = ""


class FileReport(msgspec.Struct, frozen=True):
    """A file that was set aside, for part of it could not be read."""

    path: str
    size_bytes: int
    at_wall_ms: int


class JournalsReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that one worker tells. The lists hold the largest; `flows_behind` and `files_aside` count all there are."""

    at_wall_ms: int
    node: str
    directory: str
    fsync: str
    max_bytes: int
    share_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    journals: tuple[JournalReport, ...]
    tenants: tuple[TenantReport, ...]
    flows: tuple[FlowReport, ...]
    flows_behind: int
    files: tuple[FileReport, ...]
    files_aside: int


def journals_report(
    own: Journal, adopted: Sequence[Journal], flows: Flows, lane_lock: threading.Lock, *, node: str, wall_ms: int
) -> JournalsReport:
    """What there is to tell now."""
    root = own.directory.parent
    disk = shutil.disk_usage(root)
    behind, files = tuple(flows.behind.values()), sorted(root.glob("*/*.damaged"))
    journals = [own, *heapq.nlargest(TOLD_JOURNALS, adopted, key=attrgetter("used_bytes"))]
    return JournalsReport(
        at_wall_ms=wall_ms,
        node=node,
        directory=str(root),
        fsync=settings.FOREBAY_JOURNAL_FSYNC,
        max_bytes=own.max_bytes,
        share_bytes=own.shares.share_bytes,
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        journals=tuple(_journal(journal, is_adopted=journal is not own) for journal in journals),
        tenants=tuple(_tenants(own)),
        flows=tuple(_flows(heapq.nlargest(TOLD_FLOWS, behind, key=attrgetter("pending")), lane_lock)),
        flows_behind=len(behind),
        files=tuple(_files(files[:TOLD_FILES])),
        files_aside=len(files),
    )


def read_journals(redis: Redis) -> dict[str, JournalsReport]:
    """By the worker's name. One round trip; raises RedisError."""
    return told(redis, JOURNALS, JournalsReport)


def _journal(journal: Journal, *, is_adopted: bool) -> JournalReport:
    return JournalReport(
        journal.name, journal.used_bytes, journal.unsettled, journal.pending, journal.minute_of(), is_adopted
    )


def _tenants(own: Journal) -> Iterable[TenantReport]:
    largest = own.shares.largest(TOLD_TENANTS)
    events, oldest = _unsettled(tuple(own.ledger.accounts.values()), {tenant for tenant, _ in largest})
    for tenant, live_bytes in largest:
        yield TenantReport(tenant, live_bytes, events[tenant], oldest.get(tenant))


def _unsettled(accounts: Iterable[Account], tenants: set[str]) -> tuple[Counter[str], dict[str, int]]:
    """How many events of each tenant are pending, and since which minute."""
    events, oldest = Counter[str](), dict[str, int]()
    for account in accounts:
        if account.tenant in tenants and (pending := account.pending):
            events[account.tenant] += pending
            oldest[account.tenant] = min(account.minute, oldest.get(account.tenant, account.minute))
    return events, oldest


def _flows(behind: Sequence[Flow], lane_lock: threading.Lock) -> Iterable[FlowReport]:
    with lane_lock:
        heads = [(flow, waiting.journal, waiting.first()) for flow in behind if (waiting := flow.first())]
    for flow, journal, sequence in heads:
        parked = flow.parked.code if flow.parked is not None else ""
        yield FlowReport(flow.tenant, flow.topic, flow.pending, journal.minute_of(sequence), parked)


def _files(paths: Iterable[Path]) -> Iterable[FileReport]:
    for path in paths:
        try:
            found = path.stat()
        except FileNotFoundError:  # somebody has just taken it away
            continue
        yield FileReport(str(path), found.st_size, int(found.st_mtime * 1000))
