"""Control plane: operators' words about breakers and parked topics. Each is a row with who and why, and moves the
version in its own transaction, so that workers follow within a second. Called from commands and the console.
"""

from django.db import transaction
from redis import RedisError

from ingest.breaker_store import standing_of
from ingest.models import Override, OverrideKind
from ingest.parked import read_parked
from ingest.shared_redis import shared_redis
from tenants.audit import audit
from tenants.models import ControlPlaneVersion

ACTIONS = {
    OverrideKind.FORCED_OPEN: "override.force_open",
    OverrideKind.DISABLED: "override.disable",
    OverrideKind.RESET: "override.reset",
    OverrideKind.PARKED: "override.park",
    OverrideKind.RESUMED: "override.resume",
}
_AFTER = {OverrideKind.RESET: "CLOSED", OverrideKind.RESUMED: "NOT PARKED"}


def override_add(*, kind: OverrideKind, topic: str = "", tenant: str = "", by: str, reason: str) -> Override:
    """Raises ValidationError where who or why is missing, or the place is none."""
    override = Override(kind=kind, topic=topic, tenant=tenant, by=by.strip(), reason=reason.strip())
    override.full_clean()
    # Before the transaction, which must not wait for Redis.
    before = _state_of(override.topic, override.tenant)
    with transaction.atomic():
        override.save(force_insert=True)
        ControlPlaneVersion.bump()
        audit(
            by=override.by,
            action=ACTIONS[kind],
            target=override.place,
            reason=override.reason,
            before={"state": before},
            after={"state": _AFTER.get(kind, kind.value)},
        )
    return override


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
