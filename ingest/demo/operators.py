"""Control plane: what operators would have done by now, through the services that the console calls: one tenant's
events for a topic are parked, a breaker was forced open and reset, a bulk replay waits for its start.
"""

from ingest.dead_letters.bulk import BulkRefused, bulk_plan
from ingest.dead_letters.selection import LetterCriteria
from ingest.demo.cast import BY, PAYMENTS_TOPIC, PICTURES_TOPIC
from ingest.models import BulkReplay, BulkStatus, Override, OverrideKind
from ingest.overrides import override_add

PARKED_TENANT = "demo-edge"


def park() -> None:
    """What this tenant sends for payments waits from now on, until somebody resumes it."""
    if not _is_parked():
        reason = "the demo: their reader of payments cannot keep up; resume them on the page of breakers"
        override_add(kind=OverrideKind.PARKED, topic=PAYMENTS_TOPIC, tenant=PARKED_TENANT, by=BY, reason=reason)


def resume() -> None:
    """Let what waits for it go out."""
    if _is_parked():
        override_add(
            kind=OverrideKind.RESUMED, topic=PAYMENTS_TOPIC, tenant=PARKED_TENANT, by=BY, reason="the demo is mended"
        )


def force_open() -> None:
    """For as long as somebody moves the brokers of payments, say."""
    reason = "the demo: its brokers are moved"
    override_add(kind=OverrideKind.FORCED_OPEN, topic=PAYMENTS_TOPIC, by=BY, reason=reason)


def reset() -> None:
    """And on its own again."""
    reason = "the demo: they have been moved"
    override_add(kind=OverrideKind.RESET, topic=PAYMENTS_TOPIC, by=BY, reason=reason)


def plan_bulk_replay() -> bool:
    """Of the pictures that were too large; whether one waits now for somebody to start it."""
    if not BulkReplay.objects.filter(created_by=BY, status=BulkStatus.PLANNED).exists():
        try:
            reason = "the demo: once the topic takes large events again, with `demo --mend`"
            bulk_plan(criteria=LetterCriteria(topic=PICTURES_TOPIC), by=BY, reason=reason)
        except BulkRefused:  # no letter has died yet
            return False
    return True


def _is_parked() -> bool:
    last = Override.objects.filter(tenant=PARKED_TENANT, topic=PAYMENTS_TOPIC).first()
    return last is not None and last.kind == OverrideKind.PARKED
