"""Which tenants are being limited right now, and by which limit: what an operator is asked about first.

Data plane. A refused request leaves one number here; the worker's chores publish once a second what has come since.
Those whose key is not known are counted under no tenant.
"""

from collections import Counter

from ingest.dataplane.errors import Throttled


class Throttles:
    """Refusals by (tenant, limit) since the last `take`. Any thread: of two at the same instant one may be lost."""

    def __init__(self) -> None:
        self._refused: Counter[tuple[str, str]] = Counter()

    def add(self, refused: Throttled) -> None:
        """One request was refused."""
        self._refused[refused.tenant, f"{refused.extra['scope']} {refused.extra['what']}"] += 1

    def take(self) -> Counter[tuple[str, str]]:
        """What has come since the last time."""
        taken, self._refused = self._refused, Counter()
        return taken
