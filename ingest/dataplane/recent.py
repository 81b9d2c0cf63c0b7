"""What each tenant sent last, as a bounded sample for `GET /api/logs`, and how much, for who gets a metric label.

Data plane. The lane leaves the last record of a request here, which costs one dict write; the worker's chores publish
once a second what has come since. A sample, not a record: whatever nobody looks at is overwritten.
"""

from collections import deque

SAMPLE_EVENTS = 100


BUSIEST_TENANTS = "forebay:tenant_events"
"""A sorted set in Redis: how many events each tenant has sent."""


def recent_key(tenant: str) -> str:
    """Where in Redis a tenant's sample is."""
    return f"forebay:recent:{{{tenant}}}"


class Recent:
    """The newest events of one tenant, and how many there were."""

    __slots__ = ("count", "sample")

    def __init__(self) -> None:
        self.count = 0
        self.sample: deque[bytes] = deque(maxlen=SAMPLE_EVENTS)


class RecentEvents:
    """By tenant, since the last `take`. Written under the lane lock, taken by a chore."""

    def __init__(self) -> None:
        self._tenants: dict[str, Recent] = {}

    def add(self, tenant: str, value: bytes, count: int) -> None:
        """One request: the JSON of its last event, and the number of its events."""
        recent = self._tenants.get(tenant)
        if recent is None:
            recent = self._tenants[tenant] = Recent()
        recent.sample.append(value)
        recent.count += count

    def take(self) -> dict[str, Recent]:
        """What has come since the last time."""
        taken, self._tenants = self._tenants, {}
        return taken
