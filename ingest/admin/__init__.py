"""The operators' console for the event path: routing rules, and what became of events."""

from ingest.admin import quarantine, rules

__all__ = ["quarantine", "rules"]
