"""Routing rules as operators work on them: as plain facts, compared, warned about, and tried on events."""
