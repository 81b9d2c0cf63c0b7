"""A bounded sample of what each tenant sent last, for `GET /api/logs`.

Data plane. The lane leaves the last record of a request here, which costs one dict write; the worker's housekeeping
publishes once a second what has come since. A sample, not a record: whatever nobody looks at is overwritten.
"""

from collections import deque

SAMPLE_EVENTS = 100


def recent_key(tenant: str) -> str:
    """Where in Redis a tenant's sample is."""
    return f"forebay:recent:{{{tenant}}}"


class RecentEvents:
    """The newest events by tenant since the last `take`. Written under the lane lock, taken by housekeeping."""

    def __init__(self) -> None:
        self._events: dict[str, deque[bytes]] = {}

    def add(self, tenant: str, value: bytes) -> None:
        """The JSON of one event."""
        events = self._events.get(tenant)
        if events is None:
            events = self._events[tenant] = deque(maxlen=SAMPLE_EVENTS)
        events.append(value)

    def take(self) -> dict[str, deque[bytes]]:
        """What has come since the last time."""
        taken, self._events = self._events, {}
        return taken
