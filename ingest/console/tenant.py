"""A tenant's page: how it stands with its limits, what became of its events, why some were refused, and its keys."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.shortcuts import render as render_part
from django.utils import timezone
from redis import Redis, RedisError

from ingest.console.pages import console_page, render
from ingest.console.tenant_figures import meters_of, refusals_of
from ingest.dead_letters.selection import OPEN, letters_by_cause
from ingest.ledger.usage import Window, usage
from ingest.models import DeadLetter, QuarantinedEvent
from ingest.parked import read_parked
from ingest.shared_redis import shared_redis
from tenants.audit import target_of
from tenants.models import ApiKey, AuditEntry, Quarantine, Tenant

_PERMISSION = "tenants.view_tenant"
KEYS_SHOWN, CAUSES_SHOWN, ENTRIES_SHOWN = 50, 5, 8
_SAMPLES_LOOKED_AT = 100
_DAY_MINUTES = 1_440
_LEDGER = ("received", "accepted", "rejected", "delivered", "dropped", "dead_lettered", "discarded", "pending")


class LedgerRow(NamedTuple):
    """One word of the ledger."""

    word: str
    hour: int
    day: int


class Rejection(NamedTuple):
    """Events that were rejected for one reason, with one of them where the plan keeps any."""

    code: str
    hour: int
    day: int
    sample: QuarantinedEvent | None


@console_page(_PERMISSION)
def tenant(request: HttpRequest, name: str) -> HttpResponse:
    """The whole page, complete without a script."""
    found = _tenant(name)
    return render(request, "console/tenant.html", f"Tenant {found}", **_live(found), **_still(found))


@console_page(_PERMISSION)
def tenant_live(request: HttpRequest, name: str) -> HttpResponse:
    """What htmx swaps in every five seconds."""
    return render_part(request, "console/tenant_live.html", _live(_tenant(name)))


def _tenant(name: str) -> Tenant:
    return get_object_or_404(Tenant.objects.select_related("plan"), name=name)


def _still(tenant: Tenant) -> dict[str, Any]:
    """What a look when the page is opened is enough for."""
    keys = ApiKey.objects.filter(tenant=tenant).select_related("tenant", "successor")
    # What can be used comes first, the newest of it at the top.
    shown = list(keys.order_by(F("revoked_at").desc(nulls_first=True), "-pk")[: KEYS_SHOWN + 1])
    causes = letters_by_cause(letters=DeadLetter.objects.filter(tenant=tenant.name, status__in=OPEN))
    return {
        "keys": shown[:KEYS_SHOWN],
        "has_more_keys": len(shown) > KEYS_SHOWN,
        "causes": causes[:CAUSES_SHOWN],
        "more_causes": len(causes) - CAUSES_SHOWN,
        "entries": _entries(tenant, shown),
    }


def _entries(tenant: Tenant, keys: list[ApiKey]) -> list[AuditEntry]:
    """What was last done to it and its keys."""
    targets = [target_of(thing) for thing in (tenant, *keys)]
    return list(AuditEntry.objects.filter(target__in=targets)[:ENTRIES_SHOWN])


def _live(tenant: Tenant) -> dict[str, Any]:
    wall_s = time.time()
    with shared_redis() as client:
        minute = int(wall_s // 60)
        today = minute // _DAY_MINUTES * _DAY_MINUTES
        hour = usage(client, tenant.name, Window(minute - 59, minute + 1, 60))
        day = usage(client, tenant.name, Window(today, today + _DAY_MINUTES, _DAY_MINUTES))
        return {
            "tenant": tenant,
            "ledger": list(_ledger(hour["total"], day["total"])),
            "rejections": _rejections(tenant, hour["total"]["rejected"], day["total"]["rejected"]),
            "keeps_samples": tenant.plan.quarantine != Quarantine.OFF,
            "as_of": timezone.now(),
            **_of_redis(client, tenant, wall_s, day["total"]["received"]),
        }


def _of_redis(client: Redis, tenant: Tenant, wall_s: float, received_today: int) -> dict[str, Any]:
    """What nobody knows while Redis is away."""
    try:
        return {
            "is_redis_there": True,
            "meters": meters_of(client, tenant, wall_s, received_today),
            "refusals": refusals_of(client, tenant.name, wall_s),
            "parked": [entry for entry in read_parked(client) if entry.tenant == tenant.name],
        }
    except RedisError:
        return {"is_redis_there": False}


def _ledger(hour: dict[str, Any], day: dict[str, Any]) -> Iterator[LedgerRow]:
    for word in _LEDGER:
        yield LedgerRow(word.replace("_", "-"), _sum(hour[word]), _sum(day[word]))


def _sum(counted: Any) -> int:
    """A count, or counts by reason; of dead letters the total is among what became of them."""
    if isinstance(counted, dict):
        return int(counted["total"] if "total" in counted else sum(counted.values()))
    return int(counted)


def _rejections(tenant: Tenant, hour: dict[str, int], day: dict[str, int]) -> list[Rejection]:
    """The most frequent of today first; the last hour may reach into yesterday."""
    newest = QuarantinedEvent.objects.filter(tenant=tenant.name).order_by("-received_at")[:_SAMPLES_LOOKED_AT]
    samples = {event.code: event for event in reversed(newest)}
    codes = sorted(hour.keys() | day.keys(), key=lambda code: (-day.get(code, 0), code))
    return [Rejection(code, hour.get(code, 0), day.get(code, 0), samples.get(code)) for code in codes]
