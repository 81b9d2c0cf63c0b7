"""Who takes part in the contract: tenants, keys and rules as the snapshot builder would write them."""

from ingest.dataplane.policy import KeyPolicy, RulePolicy, TenantPolicy, TopicPolicy, dump
from tenants.quotas import Quota
from tests.unit.dataplane.world import header, key, rule, tenant

BOLTS_EVENTS_A_DAY = 3
_NAMES = ("acme", "acmeread", "acmesend", "acmeofce", "bolt", "cruxgone", "cruxlate", "dorn", "echo", "flux")
KEYS = {name: f"fb_{name:0<8}_" + name[0] * 43 for name in _NAMES}

TENANTS: list[TenantPolicy] = [
    tenant("acme"),
    tenant("bolt", quota=Quota(events_per_day=BOLTS_EVENTS_A_DAY)),
    tenant("crux"),
    tenant("dorn", active=False),
    tenant("echo", idempotency_keys=True, deduplicates=True, quarantine="redacted"),
    tenant("flux", quota=Quota(events_per_s=10_000, burst_events=2)),
]
POLICIES: list[KeyPolicy] = [
    key(KEYS["acme"], "acme", 1),
    key(KEYS["acmeread"], "acme", 2, scopes=frozenset({"read"})),
    key(KEYS["acmeofce"], "acme", 3, allowed_networks=("203.0.113.0/24", "2001:db8::/32")),
    key(KEYS["acmesend"], "acme", 8, scopes=frozenset({"ingest"})),
    key(KEYS["bolt"], "bolt", 4),
    key(KEYS["cruxgone"], "crux", 5, revoked=True),
    key(KEYS["cruxlate"], "crux", 6, expires_wall_s=1_700_000_000.0),
    key(KEYS["dorn"], "dorn", 7),
    key(KEYS["echo"], "echo", 9),
    key(KEYS["flux"], "flux", 10),
]
RULES: list[RulePolicy] = [
    rule("", name="noise", source_glob="noise-*", drop_reason="noise"),
    rule("not-yet", name="later", source_glob="later-*"),
]


def snapshot_blob(partitions: int) -> bytes:
    """With the one topic that there is."""
    topics = (TopicPolicy("logs", partitions, event_max_bytes=1 << 20),)
    return dump(header(1, TENANTS, POLICIES, rules=tuple(RULES), topics=topics), TENANTS, POLICIES)
