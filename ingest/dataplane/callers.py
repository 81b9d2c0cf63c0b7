"""Who sends: a key and its tenant, with everything the path needs of them compiled when first met in a snapshot.

Data plane. Read by every request thread, replaced whole by the snapshot watcher; a lost race compiles a caller twice,
which does no harm but for the routes it remembers.
"""

from typing import NamedTuple

from ingest.dataplane.metrics import OTHER_TENANTS, TenantMeter
from ingest.dataplane.policy import KeyPolicy, Snapshot, TenantPolicy, TopicPolicy
from ingest.dataplane.routing import Defaults, TenantRouter
from tenants.quotas import Quota

_MAY_SEND = frozenset({"ingest"})


class Caller(NamedTuple):
    """One key and its tenant. `label` is the tenant's name in metrics, `policy_version` the number of the rules."""

    tenant: TenantPolicy
    key: KeyPolicy
    router: TenantRouter
    label: str
    meters: dict[str, TenantMeter]
    policy_version: int

    def meter(self, dialect: str) -> TenantMeter:
        """The metrics of this tenant for one dialect."""
        meter = self.meters.get(dialect)
        if meter is None:
            meter = self.meters[dialect] = TenantMeter(self.label, dialect)
        return meter


class Callers:
    """The callers of one snapshot, by the digest of their key."""

    def __init__(self, snapshot: Snapshot, defaults: Defaults) -> None:
        self.snapshot = snapshot
        self._defaults = defaults
        self._labelled = frozenset(snapshot.header.labelled_tenants)
        self._known: dict[bytes, Caller] = {}
        self._keyless: dict[str, Caller] = {}
        self._routers: dict[str, TenantRouter] = {}

    @property
    def topics(self) -> dict[str, TopicPolicy]:
        """The topics that may be produced to."""
        return self.snapshot.topics

    def find(self, digest: bytes) -> Caller | None:
        """The caller behind a key, None for a key that nobody has. No query, whatever is asked for."""
        caller = self._known.get(digest)
        if caller is None and (key := self.snapshot.keys.get(digest)) is not None:
            caller = self._known[digest] = self._compile(key)
        return caller

    def of_tenant(self, name: str) -> Caller | None:
        """The tenant itself, for what comes without a key where an operator has said whose it is. None if unknown."""
        if name not in self.snapshot.tenants:
            return None
        caller = self._keyless.get(name)
        if caller is None:
            caller = self._keyless[name] = self._compile(KeyPolicy(b"", 0, name, _MAY_SEND, None, False, (), Quota()))
        return caller

    def _compile(self, key: KeyPolicy) -> Caller:
        tenant, header = self.snapshot.tenants[key.tenant], self.snapshot.header
        router = self._routers.get(tenant.name)
        if router is None:
            router = TenantRouter(tenant.name, tenant.delivery, header.rules, self.topics, self._defaults)
            self._routers[tenant.name] = router
        label = tenant.name if tenant.name in self._labelled else OTHER_TENANTS
        return Caller(tenant, key, router, label, {}, header.rules_version)
