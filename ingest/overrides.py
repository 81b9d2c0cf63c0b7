"""Control plane: operators' words about breakers and parked topics. Each is a row with who and why, and moves the
version in its own transaction, so that workers follow within a second. Called from commands and the console.
"""

from django.db import transaction

from ingest.models import Override, OverrideKind
from tenants.models import ControlPlaneVersion


@transaction.atomic
def override_add(*, kind: OverrideKind, topic: str = "", tenant: str = "", by: str, reason: str) -> Override:
    """Raises ValidationError where who or why is missing, or the place is none."""
    override = Override(kind=kind, topic=topic, tenant=tenant, by=by.strip(), reason=reason.strip())
    override.full_clean()
    override.save(force_insert=True)
    ControlPlaneVersion.bump()
    return override
