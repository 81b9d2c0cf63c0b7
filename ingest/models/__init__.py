"""Control plane: what operators configure and see of the event path. No request reads a table of it."""

from ingest.models.dead_letters import (
    AttemptResult,
    BulkReplay,
    BulkStatus,
    DeadLetter,
    DeadLetterAttempt,
    LetterStatus,
    ReplayRoute,
)
from ingest.models.ledger import JournalState, LedgerHour, LedgerMinute
from ingest.models.rules import KEY_FIELDS, LEVELS, RoutingRule, _check_key, _check_levels

__all__ = [
    "KEY_FIELDS",
    "LEVELS",
    "AttemptResult",
    "BulkReplay",
    "BulkStatus",
    "DeadLetter",
    "DeadLetterAttempt",
    "JournalState",
    "LedgerHour",
    "LedgerMinute",
    "LetterStatus",
    "ReplayRoute",
    "RoutingRule",
    "_check_key",
    "_check_levels",
]
