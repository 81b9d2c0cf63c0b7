"""Control plane: what operators do with rejected events that were kept: find them, delete them before their time."""

from datetime import datetime

import msgspec
from django.db import transaction
from django.db.models import QuerySet

from ingest.models import QuarantinedEvent
from tenants.audit import audit


class QuarantineCriteria(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rejected event must be; an empty field asks for nothing."""

    tenant: str = ""
    code: str = ""
    correlation_id: str = ""
    sha256: str = ""
    received_from: datetime | None = None
    received_before: datetime | None = None

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in msgspec.to_builtins(self).items()) or "every one"


def quarantined_select(*, criteria: QuarantineCriteria) -> QuerySet[QuarantinedEvent]:
    """Those that match, newest first."""
    asked = {
        "tenant": criteria.tenant,
        "code": criteria.code,
        "correlation_id": criteria.correlation_id,
        "sha256": criteria.sha256,
        "received_at__gte": criteria.received_from,
        "received_at__lt": criteria.received_before,
    }
    return QuarantinedEvent.objects.filter(**{name: value for name, value in asked.items() if value}).order_by("-pk")


@transaction.atomic
def quarantined_delete(*, events: QuerySet[QuarantinedEvent], about: str, reason: str, by: str) -> int:
    """Delete them; returns how many. The audit log says how many and which, and nothing of what they said."""
    count, _ = events.order_by().delete()
    if count:
        target = f"{count} rejected event{'' if count == 1 else 's'}"
        audit(by=by, action="quarantine.delete", target=target, reason=reason, before={"events": count, "which": about})
    return count
