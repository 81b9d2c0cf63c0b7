"""Control plane: every write to tenants and keys that commands and the console share. Each moves the version in its own
transaction, so that workers follow within a second, and leaves its line in the audit log there: who (`by`), what, and
why where it can hurt somebody. Called from commands and the console, never from the event path.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from tenants import api_keys
from tenants.audit import audit, facts_of
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
    *, name: str, by: str, plan: str = "standard", display_name: str = "", default_delivery: str = Delivery.ASYNC
) -> Tenant:
    """Raises TenantExists, NoSuchPlan, and ValidationError for a name that is none."""
    existing = Tenant.objects.select_related("plan").filter(name=name).first()
    if existing:
        raise TenantExists(f"Tenant {name} exists already (plan {existing.plan}, {existing.status}); nothing changed.")
    tenant = Tenant(name=name, plan=_plan_named(plan), display_name=display_name, default_delivery=default_delivery)
    tenant.full_clean()
    tenant.save()
    audit(by=by, action="tenant.create", target=tenant, after=facts_of(tenant))
    ControlPlaneVersion.bump()
    return tenant


def _plan_named(name: str) -> Plan:
    plan = Plan.objects.filter(name=name).first()
    if plan is None:
        known = ", ".join(Plan.objects.values_list("name", flat=True))
        raise NoSuchPlan(f"There is no plan {name}; the plans are: {known or 'none yet'}.")
    return plan


@transaction.atomic
def plan_set(*, plan: str, by: str, reason: str, **options: bool | str) -> Plan:
    """What a plan does with what comes again or is bad, by field name; without any it is only looked at.

    Raises NoSuchPlan, and ValidationError for a value that is none.
    """
    found = _plan_named(plan)
    before = facts_of(found)
    for field, value in options.items():
        setattr(found, field, value)
    if facts_of(found) != before:
        found.full_clean()
        found.save(update_fields=list(options))
        audit(by=by, action="plan.set", target=found, reason=reason, before=before, after=facts_of(found))
        ControlPlaneVersion.bump()
    return found


def tenant_suspend(*, tenant: Tenant, by: str, reason: str) -> bool:
    """Refuse the tenant's requests from now on; True if that changed anything."""
    return _tenant_set_status(tenant, TenantStatus.SUSPENDED, "tenant.suspend", by, reason)


def tenant_resume(*, tenant: Tenant, by: str, reason: str) -> bool:
    """Take the tenant's requests again; True if that changed anything."""
    return _tenant_set_status(tenant, TenantStatus.ACTIVE, "tenant.resume", by, reason)


@transaction.atomic
def _tenant_set_status(tenant: Tenant, status: TenantStatus, action: str, by: str, reason: str) -> bool:
    changed = Tenant.objects.filter(pk=tenant.pk).exclude(status=status).update(status=status)
    if changed:
        before = {"status": TenantStatus(tenant.status)}
        audit(by=by, action=action, target=tenant, reason=reason, before=before, after={"status": status})
        ControlPlaneVersion.bump()
    tenant.status = status
    return bool(changed)


@transaction.atomic
def tenant_delete(*, tenant: Tenant, by: str, reason: str) -> None:
    """Delete a tenant, and its keys with it. Whoever calls this has seen that nothing of it is left to do elsewhere."""
    keys = [str(key) for key in tenant.api_keys.order_by("pk")]
    audit(by=by, action="tenant.delete", target=tenant, reason=reason, before=facts_of(tenant) | {"keys": keys})
    tenant.delete()
    ControlPlaneVersion.bump()


def key_issue(
    *,
    tenant: Tenant,
    name: str,
    by: str,
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
    return key, key_mint(key=key, by=by)


@transaction.atomic
def key_mint(*, key: ApiKey, by: str) -> str:
    """Give an unsaved key its digest, and a prefix if it has none, store it, and return its secret: the one moment
    that it is known."""
    secret = _mint(key)
    audit(by=by, action="key.issue", target=key, after=facts_of(key))
    ControlPlaneVersion.bump()
    return secret


def _mint(key: ApiKey) -> str:
    secret, key.prefix, key.digest = api_keys.issue(key.prefix)
    key.full_clean()
    key.save(force_insert=True)
    return secret


@transaction.atomic
def key_revoke(*, key: ApiKey, by: str, reason: str) -> bool:
    """Refuse the key everywhere within a second; True if it was not revoked before. The first time stays on record."""
    revoked = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    if revoked:
        before, after = {"state": key.state}, {"state": "revoked"}
        audit(by=by, action="key.revoke", target=key, reason=reason, before=before, after=after)
        ControlPlaneVersion.bump()
    key.refresh_from_db(fields=["revoked_at"])
    return bool(revoked)


@transaction.atomic
def key_rotate(*, key: ApiKey, by: str, reason: str, overlap_s: int = ROTATION_OVERLAP_S) -> tuple[ApiKey, str]:
    """A successor with the key's scopes, networks, limits and lifetime; both work until the overlap ends.

    Raises KeyNotRotatable for a key that is revoked, expired, or has a successor already: a repeated call must neither
    pile up keys nor prolong the old one.
    """
    old = ApiKey.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=key.pk)
    check_rotatable(key=old, overlap_s=overlap_s)
    now = timezone.now()
    new = _successor(old, now)
    secret = _mint(new)
    before = {"expires_at": old.expires_at}
    old.expires_at = rotation_end(key=old, overlap_s=overlap_s, now=now)
    old.save(update_fields=["expires_at"])
    after = {"expires_at": old.expires_at, "successor": str(new)}
    audit(by=by, action="key.rotate", target=old, reason=reason, before=before, after=after)
    ControlPlaneVersion.bump()
    return new, secret


def rotation_end(*, key: ApiKey, overlap_s: int, now: datetime) -> datetime:
    """When a key ends that is rotated now: an overlap never prolongs it."""
    return min(filter(None, (key.expires_at, now + timedelta(seconds=overlap_s))))


def check_rotatable(*, key: ApiKey, overlap_s: int = ROTATION_OVERLAP_S) -> None:
    """Raises KeyNotRotatable, as rotating it would."""
    if not 0 <= overlap_s <= _OVERLAP_MAX_S:
        raise KeyNotRotatable(f"The overlap is 0 to {_OVERLAP_MAX_S} seconds.")
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
