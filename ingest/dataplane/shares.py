"""How much of a journal each tenant takes, and that none takes it all while others want room.

Data plane. The journal's lock guards it.
"""

import heapq
from operator import itemgetter

from ingest.dataplane.errors import Unavailable

# What one tenant may take while others use the journal too.
TENANT_SHARE = 0.2
SHARED_WITHIN_MS = 60_000


class Shares:
    """`taken_bytes` are those of unsettled records by tenant, exact: what is added is what is taken off again."""

    def __init__(self, max_bytes: int) -> None:
        self.share_bytes = int(max_bytes * TENANT_SHARE)
        self.taken_bytes: dict[str, int] = {}
        self._appended_wall_ms: dict[str, int] = {}

    def take(self, tenant: str, more_bytes: int, wall_ms: int) -> None:
        """A tenant appends. Raises Unavailable over its share, which binds only while another tenant has appended
        within the last minute."""
        self._appended_wall_ms[tenant] = wall_ms
        with_these = self.taken_bytes.get(tenant, 0) + more_bytes
        if with_these > self.share_bytes and self._is_shared(tenant, wall_ms):
            raise Unavailable(
                "journal_share_exceeded",
                "Your events take up your share of the journal until Kafka acknowledges them; come back later",
            )
        self.taken_bytes[tenant] = with_these

    def give_back(self, tenant: str, bytes_back: int) -> None:
        """Records of so many bytes are settled, or could not be appended after all."""
        self.taken_bytes[tenant] = self.taken_bytes.get(tenant, 0) - bytes_back

    def largest(self, count: int) -> list[tuple[str, int]]:
        """The tenants that take most now, with their bytes. Any thread: inexact."""
        taken = [(tenant, size) for tenant, size in tuple(self.taken_bytes.items()) if size > 0]
        return heapq.nlargest(count, taken, key=itemgetter(1))

    def _is_shared(self, tenant: str, wall_ms: int) -> bool:
        others = (at for name, at in self._appended_wall_ms.items() if name != tenant)
        return max(others, default=-SHARED_WITHIN_MS) > wall_ms - SHARED_WITHIN_MS
