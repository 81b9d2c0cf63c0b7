"""How much a tenant sends, and what of its limits that is: from what the workers keep in Redis."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from redis import Redis

from ingest.tenant_minutes import limited, limited_hours, sent
from tenants.models import Tenant
from tenants.quotas import Limit, Scope, What, limits_of
from tenants.standing import used_of

WARN_RATIO, FULL_RATIO = 0.8, 1.0
# The bar ends here, so that what is over the limit can be seen too.
_DRAWN_RATIO = 1.2
_UNITS = {What.EVENTS_PER_S: "events/s", What.BYTES_PER_S: "bytes/s", What.EVENTS_PER_DAY: "events today"}


class Meter(NamedTuple):
    """One limit and what is taken of it; in words where a number alone says too little."""

    name: str
    used: float
    limit: float
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.used / self.limit if self.limit else 0.0

    @property
    def percent(self) -> float:
        return self.ratio * 100

    @property
    def drawn_percent(self) -> float:
        """Of the bar's width."""
        return min(self.ratio, _DRAWN_RATIO) / _DRAWN_RATIO * 100

    @property
    def level(self) -> str:
        """As the style sheet calls it."""
        return "fb-bad" if self.ratio >= FULL_RATIO else "fb-warn" if self.ratio >= WARN_RATIO else ""


class Refusals(NamedTuple):
    """Requests that one limit answered with 429."""

    limit: str
    now: int
    day: int


class Row(NamedTuple):
    """What the list shows of one tenant. Without Redis the figures are None. `day` is what the quota's counter has: up
    to a hundredth of the quota more than was sent, for workers hold that; the ledger would be read for too long."""

    tenant: Tenant
    active_keys: int
    events_per_s: float | None
    rate: Meter | None
    day: Meter | None


def rows_of(client: Redis | None, tenants: Sequence[Tenant], keys: dict[int, int], wall_s: float) -> list[Row]:
    """Two round trips for all of them. Raises RedisError; `client` is None where that has happened."""
    if client is None:
        return [Row(tenant, keys.get(tenant.pk, 0), None, None, None) for tenant in tenants]
    rates = sent(client, [tenant.name for tenant in tenants], wall_s)
    daily = [limit for tenant in tenants for limit in _limits(tenant) if limit.is_daily]
    used = {limit.tenant: used for limit, used in zip(daily, used_of(client, daily, wall_s), strict=True)}
    return [_row(tenant, keys.get(tenant.pk, 0), rates[tenant.name], used.get(tenant.name)) for tenant in tenants]


def meters_of(client: Redis, tenant: Tenant, wall_s: float, received_today: int) -> list[Meter]:
    """Of each limit; of a rate both what came in the last minute and what is taken of the burst now; of a day
    `received_today`, the ledger's count of what the quota charges."""
    limits = _limits(tenant)
    used = used_of(client, limits, wall_s)
    meters = []
    for limit, taken in zip(limits, used, strict=True):
        unit = _UNITS[limit.what]
        if limit.what is What.EVENTS_PER_S:
            rate = sent(client, [tenant.name], wall_s)[tenant.name]
            meters.append(Meter("events/s", rate, limit.limit, "accepted in the last whole minute"))
        if limit.is_daily:
            meters.append(Meter(unit, received_today, limit.limit, _of_day(taken - received_today)))
        else:
            note = f"taken now; refills with {limit.limit:,} {unit}, and at 100 % requests get a 429"
            meters.append(Meter(f"burst of {unit.removesuffix('/s')}", taken, limit.burst, note))
    return meters


def refusals_of(client: Redis, tenant: str, wall_s: float) -> list[Refusals]:
    """By limit: in the last two minutes, and in the last 24 hours."""
    now = {row.limit: row.requests for row in limited(client, tenant, wall_s=wall_s)}
    day = {row.limit: row.requests for row in limited_hours(client, tenant, wall_s=wall_s)}
    return [Refusals(limit, now.get(limit, 0), day.get(limit, 0)) for limit in _in_order(now, day)]


def _of_day(held: float) -> str:
    """Workers take the day's quota in slices ahead of what is sent, and hand them back when the tenant is idle."""
    note = "accepted or rejected since midnight UTC"
    return f"{note}; workers hold {held:,.0f} more for what comes next" if held >= 1 else note


def _in_order(now: dict[str, int], day: dict[str, int]) -> Iterable[str]:
    return sorted(now.keys() | day.keys(), key=lambda limit: (-now.get(limit, 0), -day.get(limit, 0)))


def _limits(tenant: Tenant) -> list[Limit]:
    """Of the tenant as a whole; those of its keys are beneath."""
    return limits_of(tenant.name, Scope.TENANT, "", tenant.plan.quota)


def _row(tenant: Tenant, keys: int, events_per_s: float, used_today: float | None) -> Row:
    plan = tenant.plan
    rate = Meter("of its events/s", events_per_s, plan.events_per_s) if plan.events_per_s else None
    day = Meter("of its day", used_today or 0.0, plan.events_per_day) if plan.events_per_day else None
    return Row(tenant, keys, events_per_s, rate, day)
