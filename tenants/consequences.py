"""Control plane: what becomes of senders when a key of theirs is rotated or revoked, in words, before it is done."""

from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from tenants import services
from tenants.models import ApiKey

_IN_USE = timedelta(minutes=10)


def refusal_to_rotate(key: ApiKey) -> str:
    """Why it cannot be rotated; empty where it can."""
    try:
        services.check_rotatable(key=key)
    except services.KeyNotRotatable as refused:
        return str(refused)
    return ""


def of_rotating(key: ApiKey) -> Iterator[str]:
    """A sentence each."""
    end = services.rotation_end(key=key, overlap_s=services.ROTATION_OVERLAP_S, now=timezone.now())
    yield "A new key with the same scopes, networks, limits and lifetime. Its text is shown once, on the next page."
    yield f"Both keys work until the old one ends: with 24 hours, at {end:%Y-%m-%d %H:%M} UTC."
    if key.expires_at:
        yield f"The old key ends on {key.expires_at:%Y-%m-%d %H:%M} UTC in any case; an overlap never prolongs it."
    yield _last_use(key)


def of_revoking(key: ApiKey) -> Iterator[str]:
    """A sentence each."""
    others = ApiKey.objects.filter(tenant=key.tenant, revoked_at=None).exclude(pk=key.pk)
    active = sum(other.state == "active" for other in others)
    yield "Within a second every worker answers this key with 401. That cannot be taken back."
    yield _last_use(key)
    if active:
        yield f"Of {key.tenant} {active} other active {'key works' if active == 1 else 'keys work'} on."
    else:
        yield f"It is the last active key of {key.tenant}: the tenant can send nothing until another one is issued."


def _last_use(key: ApiKey) -> str:
    if key.last_used_at is None:
        return "Nobody has used it yet."
    is_busy = timezone.now() - key.last_used_at < _IN_USE
    warning = " Somebody sends with it now: whoever does not change to another key loses events." if is_busy else ""
    return f"It was last used on {key.last_used_at:%Y-%m-%d %H:%M} UTC.{warning}"
