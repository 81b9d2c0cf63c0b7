"""Control plane: operators' words about breakers and parked topics. Each is a row with who and why, and moves the
version in its own transaction, so that workers follow within a second. Called from commands and the console.
"""

from typing import Final

from django.db import transaction
from redis import RedisError

from ingest.breaker_store import standing_of
from ingest.models import Override, OverrideKind
from ingest.parked import read_parked
from ingest.shared_redis import shared_redis
from tenants.audit import audit
from tenants.models import ControlPlaneVersion
from tenants.services import Refused

ACTIONS = {
    OverrideKind.FORCED_OPEN: "override.force_open",
    OverrideKind.DISABLED: "override.disable",
    OverrideKind.RESET: "override.reset",
    OverrideKind.PARKED: "override.park",
    OverrideKind.RESUMED: "override.resume",
}
_AFTER = {OverrideKind.RESET: "CLOSED", OverrideKind.RESUMED: "NOT PARKED"}
# These hold until the next word; the others are done once, and may be needed again.
_HOLDING: Final = (OverrideKind.FORCED_OPEN, OverrideKind.DISABLED, OverrideKind.PARKED)


class OverrideRefused(Refused):
    """It is said already, or something else was said since its author looked; the text says by whom, and why."""


def override_add(
    *, kind: OverrideKind, topic: str = "", tenant: str = "", by: str, reason: str, after: int | None = None
) -> Override:
    """`after` is the number of the newest word for the place when its author looked, 0 for none; not given is not
    asked. Raises ValidationError where who or why is missing, or the place is none; OverrideRefused."""
    override = Override(kind=kind, topic=topic, tenant=tenant, by=by.strip(), reason=reason.strip())
    override.full_clean()
    # Before the transaction, which must not wait for Redis.
    told = _state_of(override.topic, override.tenant)
    with transaction.atomic():
        # First, for its row is locked: of two who speak at once the second hears the first.
        ControlPlaneVersion.bump()
        last = Override.objects.filter(topic=override.topic, tenant=override.tenant).first()
        _check_news(override, last, after)
        override.save(force_insert=True)
        audit(
            by=override.by,
            action=ACTIONS[kind],
            target=override.place,
            reason=override.reason,
            before={"state": _before(last, told)},
            after={"state": _AFTER.get(kind, kind.value)},
        )
    return override


def _check_news(override: Override, last: Override | None, after: int | None) -> None:
    if last is None:
        return
    said = f"{last.kind} for {last.place}, by {last.by} at {last.at:%H:%M:%S} UTC: {last.reason}"
    if last.kind == override.kind and last.kind in _HOLDING:
        raise OverrideRefused(f"It is said already: {said}")
    if after is not None and last.pk != after:
        raise OverrideRefused(f"Something was said since you looked: {said}")


def _before(last: Override | None, told: str) -> str:
    """Workers follow a word within a second: what they tell of may be what was before it."""
    if last is None:
        return told
    kind = OverrideKind(last.kind)
    if kind in _HOLDING:
        return kind.value
    # What is parked after a resume was parked again by itself.
    return _AFTER[kind] if told.startswith((OverrideKind.FORCED_OPEN, OverrideKind.DISABLED)) else told


def _state_of(topic: str, tenant: str) -> str:
    """As the workers say it in Redis."""
    try:
        with shared_redis() as client:
            if not tenant:
                shared = standing_of(client, topic)
                return f"{shared.state}: {shared.cause}" if shared.cause else shared.state.value
            parked = next((one for one in read_parked(client) if (one.tenant, one.topic) == (tenant, topic)), None)
            return f"PARKED: {parked.code}" if parked else "NOT PARKED"
    except RedisError:
        return "unknown: Redis did not answer"
