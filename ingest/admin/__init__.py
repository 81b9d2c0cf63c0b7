"""The operators' console for the event path: routing rules, and what became of events."""

from ingest.admin import rules

__all__ = ["rules"]
