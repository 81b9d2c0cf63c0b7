"""Control plane: what operators configure and see of the event path. No request reads a table of it."""

from ingest.models.alerts import Incident, Notification
from ingest.models.dead_letters import (
    AttemptResult,
    BulkReplay,
    BulkStatus,
    DeadLetter,
    DeadLetterAttempt,
    LetterStatus,
    ReplayRoute,
)
from ingest.models.history import BreakerTransition, PlatformMinute
from ingest.models.ledger import JournalState, LedgerHour, LedgerMinute, LedgerTotals
from ingest.models.overrides import BREAKER_KINDS, PARKING_KINDS, Override, OverrideKind
from ingest.models.quarantine import QuarantinedEvent
from ingest.models.rules import KEY_FIELDS, LEVELS, RoutingRule, RuleSet, _check_key, _check_levels

__all__ = [
    "BREAKER_KINDS",
    "KEY_FIELDS",
    "LEVELS",
    "PARKING_KINDS",
    "AttemptResult",
    "BreakerTransition",
    "BulkReplay",
    "BulkStatus",
    "DeadLetter",
    "DeadLetterAttempt",
    "Incident",
    "JournalState",
    "LedgerHour",
    "LedgerMinute",
    "LedgerTotals",
    "LetterStatus",
    "Notification",
    "Override",
    "OverrideKind",
    "PlatformMinute",
    "QuarantinedEvent",
    "ReplayRoute",
    "RoutingRule",
    "RuleSet",
    "_check_key",
    "_check_levels",
]
