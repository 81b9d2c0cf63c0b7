"""Control plane: every write to tenants and keys that commands and the console share. Each moves the version in its own
transaction, so that workers follow within a second. Called from commands and the console, never from the event path.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from tenants import api_keys
from tenants.models import LIMIT_FIELDS, ApiKey, ControlPlaneVersion, Delivery, Plan, Scope, Tenant, TenantStatus

ROTATION_OVERLAP_S = 86_400
_OVERLAP_MAX_S = 366 * 86_400


class Refused(Exception):
    """The state of the tenant or key does not allow it; the text says why and what to do instead."""


class TenantExists(Refused):
    pass


class NoSuchPlan(Refused):
    pass


class KeyNotRotatable(Refused):
    pass


@transaction.atomic
def tenant_create(
    *, name: str, plan: str = "standard", display_name: str = "", default_delivery: str = Delivery.ASYNC
) -> Tenant:
    """Raises TenantExists, NoSuchPlan, and ValidationError for a name that is none."""
    existing = Tenant.objects.select_related("plan").filter(name=name).first()
    if existing:
        raise TenantExists(f"Tenant {name} exists already (plan {existing.plan}, {existing.status}); nothing changed.")
    tenant = Tenant(name=name, plan=_plan_named(plan), display_name=display_name, default_delivery=default_delivery)
    tenant.full_clean()
    tenant.save()
    ControlPlaneVersion.bump()
    return tenant


def _plan_named(name: str) -> Plan:
    plan = Plan.objects.filter(name=name).first()
    if plan is None:
        known = ", ".join(Plan.objects.values_list("name", flat=True))
        raise NoSuchPlan(f"There is no plan {name}; the plans are: {known or 'none yet'}.")
    return plan


@transaction.atomic
def plan_set(*, plan: str, **options: bool | str) -> Plan:
    """What a plan does with what comes again or is bad, by field name; without any it is only looked at.

    Raises NoSuchPlan, and ValidationError for a value that is none.
    """
    found = _plan_named(plan)
    if options:
        for field, value in options.items():
            setattr(found, field, value)
        found.full_clean()
        found.save(update_fields=list(options))
        ControlPlaneVersion.bump()
    return found


def tenant_suspend(*, tenant: Tenant) -> bool:
    """Refuse the tenant's requests from now on; True if that changed anything."""
    return _tenant_set_status(tenant, TenantStatus.SUSPENDED)


def tenant_resume(*, tenant: Tenant) -> bool:
    return _tenant_set_status(tenant, TenantStatus.ACTIVE)


@transaction.atomic
def _tenant_set_status(tenant: Tenant, status: TenantStatus) -> bool:
    changed = Tenant.objects.filter(pk=tenant.pk).exclude(status=status).update(status=status)
    if changed:
        ControlPlaneVersion.bump()
    tenant.status = status
    return bool(changed)


def key_issue(
    *,
    tenant: Tenant,
    name: str,
    scopes: Iterable[str] = (Scope.INGEST,),
    expires_at: datetime | None = None,
    allowed_networks: Iterable[str] = (),
    **limits: int,
) -> tuple[ApiKey, str]:
    """The key and its secret, to be shown once. `limits` are the key's own, by field name; ValidationError says what is
    wrong with any of it.
    """
    key = ApiKey(
        tenant=tenant,
        name=name,
        scopes=list(scopes),
        expires_at=expires_at,
        allowed_networks=list(allowed_networks),
        **limits,
    )
    return key, key_mint(key=key)


@transaction.atomic
def key_mint(*, key: ApiKey) -> str:
    """Give an unsaved key its prefix and digest, store it, and return its secret: the one moment it is known."""
    secret, key.prefix, key.digest = api_keys.issue()
    key.full_clean()
    key.save(force_insert=True)
    ControlPlaneVersion.bump()
    return secret


@transaction.atomic
def key_revoke(*, key: ApiKey) -> bool:
    """Refuse the key everywhere within a second; True if it was not revoked before. The first time stays on record."""
    revoked = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if revoked:
        ControlPlaneVersion.bump()
    key.refresh_from_db(fields=["revoked_at"])
    return bool(revoked)


@transaction.atomic
def key_rotate(*, key: ApiKey, overlap_s: int = ROTATION_OVERLAP_S) -> tuple[ApiKey, str]:
    """A successor with the key's scopes, networks, limits and lifetime; both work until the overlap ends.

    Raises KeyNotRotatable for a key that is revoked, expired, or has a successor already: a repeated call must neither
    pile up keys nor prolong the old one.
    """
    if not 0 <= overlap_s <= _OVERLAP_MAX_S:
        raise KeyNotRotatable(f"The overlap is 0 to {_OVERLAP_MAX_S} seconds.")
    old = ApiKey.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=key.pk)
    _check_rotatable(old)
    now = timezone.now()
    new = _successor(old, now)
    secret = key_mint(key=new)
    old.expires_at = min(filter(None, (old.expires_at, now + timedelta(seconds=overlap_s))))
    old.save(update_fields=["expires_at"])
    ControlPlaneVersion.bump()
    return new, secret


def _check_rotatable(key: ApiKey) -> None:
    if key.state != "active":
        raise KeyNotRotatable(f"Key fb_{key.prefix} is {key.state}: issue a new one instead.")
    successor = ApiKey.objects.filter(replaces=key).first()
    if successor:
        raise KeyNotRotatable(
            f"Key fb_{key.prefix} was rotated already, to fb_{successor.prefix}: rotate that one instead."
        )


def _successor(old: ApiKey, now: datetime) -> ApiKey:
    # An expiry is kept as a lifetime: copied as it stands, the successor would die with its predecessor's old date.
    expires_at = now + (old.expires_at - old.created_at) if old.expires_at else None
    return ApiKey(
        tenant=old.tenant,
        name=old.name,
        scopes=list(old.scopes),
        allowed_networks=list(old.allowed_networks),
        expires_at=expires_at,
        replaces=old,
        **{field: getattr(old, field) for field in LIMIT_FIELDS},
    )
