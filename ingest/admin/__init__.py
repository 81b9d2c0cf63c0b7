"""The operators' console for the event path: routing rules, and what became of events."""

from ingest.admin import alerts, bulk_replays, dead_letters, ledger, overrides, quarantine, rules, senders

__all__ = ["alerts", "bulk_replays", "dead_letters", "ledger", "overrides", "quarantine", "rules", "senders"]
