"""How much of a journal each tenant takes, and that none takes it all while others want room.

Data plane. The journal's lock guards it.
"""

from ingest.dataplane.errors import Unavailable

# What one tenant may take while others use the journal too.
TENANT_SHARE = 0.2
SHARED_WITHIN_MS = 60_000


class Shares:
    """Bytes of unsettled records by tenant, exact: what is added is what is taken off again."""

    def __init__(self, max_bytes: int) -> None:
        self._share_bytes = int(max_bytes * TENANT_SHARE)
        self._bytes: dict[str, int] = {}
        self._appended_wall_ms: dict[str, int] = {}

    def check(self, tenant: str, more_bytes: int, wall_ms: int) -> None:
        """A tenant is about to append. Raises Unavailable over its share, which binds only while another tenant has
        appended within the last minute."""
        self._appended_wall_ms[tenant] = wall_ms
        if self._bytes.get(tenant, 0) + more_bytes <= self._share_bytes:
            return
        others = (at for name, at in self._appended_wall_ms.items() if name != tenant)
        if max(others, default=0) > wall_ms - SHARED_WITHIN_MS:
            raise Unavailable(
                "journal_share_exceeded",
                "Your events take up your share of the journal until Kafka acknowledges them; come back later",
            )

    def add(self, tenant: str, more_bytes: int) -> None:
        """Records of so many bytes were appended; a negative number when they are settled."""
        self._bytes[tenant] = self._bytes.get(tenant, 0) + more_bytes

    def bytes_of(self, tenant: str) -> int:
        """What a tenant takes now."""
        return self._bytes.get(tenant, 0)
