"""Control plane: gathers what the alerts judge, from Redis (workers, parked topics, the ledger's check) and the tables.

An entry that cannot be read is said in the log and does not hide the others.
"""

import logging
import time
from datetime import datetime
from typing import TypeVar, cast

import msgspec
import redis
from django.conf import settings
from django.utils import timezone

from ingest.alerts.conditions import LedgerCheck, Observed, Parked, RedisView, Thresholds
from ingest.heartbeats import workers
from ingest.journal_reports import read_journals
from ingest.models import DeadLetter, LetterStatus
from ingest.published_header import newest_header
from ingest.unusable_topics import unusable_of
from tenants.models import ControlPlaneVersion

PARKED = "forebay:parked"
LEDGER_CHECK = "forebay:ledger:check"

log = logging.getLogger(__name__)
S = TypeVar("S", bound=msgspec.Struct)


def observe(client: redis.Redis) -> Observed:
    """Blocks for a few round trips. Raises django.db.DatabaseError; Redis away is part of what is observed."""
    # The version before the workers: one that takes in a change meanwhile must not look as if it were behind.
    version = ControlPlaneVersion.current()
    died_at = [at for at in (_oldest(LetterStatus.WAITING), _oldest(LetterStatus.EXHAUSTED)) if at]
    return Observed(
        redis=_ask(client),
        wall_s=time.time(),
        control_plane_version=version,
        oldest_dead_letter_age_s=(timezone.now() - min(died_at)).total_seconds() if died_at else None,
    )


def thresholds() -> Thresholds:
    """Those of the settings."""
    return Thresholds(
        buffer_ratio=settings.FOREBAY_ALERT_BUFFER_RATIO,
        produce_p99_ms=settings.FOREBAY_ALERT_PRODUCE_P99_MS,
        error_ratio=settings.FOREBAY_ALERT_ERROR_RATIO,
        dead_letter_age_s=settings.FOREBAY_ALERT_DEAD_LETTER_AGE_S,
        worker_missing_s=settings.FOREBAY_ALERT_WORKER_MISSING_S,
        disk_ratio=settings.FOREBAY_ALERT_DISK_RATIO,
        snapshot_behind_s=settings.FOREBAY_ALERT_SNAPSHOT_BEHIND_S,
        backlog_age_s=settings.FOREBAY_ALERT_BACKLOG_AGE_S,
    )


def _oldest(status: LetterStatus) -> datetime | None:
    """When the first of them died, by number: an index away, however many there are, and off by moments at most."""
    return DeadLetter.objects.filter(status=status).order_by("pk").values_list("dead_at", flat=True).first()


def _ask(client: redis.Redis) -> RedisView | None:
    try:
        parked = cast(dict[bytes, bytes], client.hgetall(PARKED))
        ledger = cast(bytes | None, client.get(LEDGER_CHECK))
        header = newest_header(client)
        return RedisView(
            workers=workers(client),
            flows={name: report.flows for name, report in read_journals(client).items()},
            unusable=unusable_of(header),
            parked={_tenant_and_topic(name): _read(entry, Parked) for name, entry in parked.items()},
            ledger=_read(ledger, LedgerCheck) if ledger else LedgerCheck(),
        )
    except redis.RedisError as error:
        log.warning("Redis does not answer the evaluation of the alerts: %s", error)
        return None


def _tenant_and_topic(name: bytes) -> tuple[str, str]:
    tenant, _, topic = name.decode(errors="replace").partition("|")
    return tenant, topic


def _read(blob: bytes, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(blob, type=kind)
    except msgspec.MsgspecError as error:
        log.warning("an entry in Redis is no %s: %s", kind.__name__, error)
        return kind()
