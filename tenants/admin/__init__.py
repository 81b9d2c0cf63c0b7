"""The operators' console for plans, tenants and keys, for the people who use it, and for what they did."""

from tenants.admin import audit_log, keys, logins, people, schedules, senders

__all__ = ["audit_log", "keys", "logins", "people", "schedules", "senders"]
