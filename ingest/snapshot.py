"""From the ORM to the immutable snapshot: the only bridge from the control plane to the event path.

Control plane; runs in the builder process (`manage.py snapshot`), never in a request.
"""

import time
from collections.abc import Sequence

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from ingest.dataplane.partitioning import Partitioning
from ingest.dataplane.policy import Header, KeyPolicy, OverridePolicy, RulePolicy, TenantPolicy, TopicPolicy, dump
from ingest.models import Override, RoutingRule
from tenants.models import ApiKey, ControlPlaneVersion, Tenant, TenantStatus


def current_version() -> int:
    """The control plane's version: one indexed row."""
    return ControlPlaneVersion.current()


def topic_names() -> list[str]:
    """Every topic that an event can be routed to."""
    named = RoutingRule.objects.filter(enabled=True).exclude(topic="").values_list("topic", flat=True)
    return sorted({settings.FOREBAY_TOPIC_DEFAULT, *named})


def build(topics: tuple[TopicPolicy, ...], label_first: Sequence[str] = ()) -> bytes:
    """The bytes of a snapshot of what is committed now. The version is read first: a write in between makes it older
    than its content, and it is built once more. `label_first` names tenants that should have a label in the metrics
    before all others, which follow by age until there are enough."""
    with transaction.atomic():
        version = current_version()
        rules = tuple(_rules())
        overrides = tuple(_overrides())
        tenants = [_tenant(tenant) for tenant in Tenant.objects.select_related("plan").order_by("pk").iterator()]
        names = {tenant.name for tenant in tenants}
        keys = [_key(key) for key in ApiKey.objects.select_related("tenant").order_by("pk").iterator()]
    # A tenant may be made between the two queries; its key comes with the next snapshot, which it has made due.
    keys = [key for key in keys if key.tenant in names]
    header = Header(
        version=version,
        built_wall_ms=time.time_ns() // 1_000_000,
        rules=rules,
        topics=topics,
        labelled_tenants=_labelled([tenant.name for tenant in tenants], label_first),
        tenants=len(tenants),
        keys=len(keys),
        overrides=overrides,
    )
    return dump(header, tenants, keys)


def _labelled(names: list[str], label_first: Sequence[str]) -> tuple[str, ...]:
    known = set(names)
    ordered = dict.fromkeys([*(name for name in label_first if name in known), *names])
    return tuple(ordered)[: settings.FOREBAY_METRICS_TOP_TENANTS]


def _rules() -> list[RulePolicy]:
    rules = RoutingRule.objects.filter(enabled=True).prefetch_related("tenants")
    return [
        RulePolicy(
            name=rule.name,
            tenants=tuple(tenant.name for tenant in rule.tenants.all()),
            source_glob=rule.source_glob,
            levels=tuple(rule.levels),
            metadata_field=rule.metadata_field,
            metadata_glob=rule.metadata_glob,
            topic=rule.topic,
            partitioning=Partitioning(rule.partitioning),
            key=tuple(rule.key),
            delivery=rule.delivery,
            keep_ratio=rule.keep_ratio,
            drop_reason=rule.drop_reason,
            rule_id=rule.pk,
        )
        for rule in rules
    ]


def _overrides() -> list[OverridePolicy]:
    """The newest for each place. Ordered by number, as they were said."""
    newest = Override.objects.order_by().values("tenant", "topic").annotate(newest=Max("pk")).values("newest")
    return [
        OverridePolicy(
            number=override.pk,
            kind=override.kind,
            topic=override.topic,
            tenant=override.tenant,
            by=override.by,
            reason=override.reason,
            at_wall_ms=int(override.at.timestamp() * 1000),
        )
        for override in Override.objects.filter(pk__in=newest).order_by("pk")
    ]


def _tenant(tenant: Tenant) -> TenantPolicy:
    return TenantPolicy(
        name=tenant.name,
        active=tenant.status == TenantStatus.ACTIVE,
        delivery=tenant.default_delivery,
        quota=tenant.plan.quota,
        idempotency_keys=tenant.plan.idempotency_keys,
        deduplicates=tenant.plan.deduplicates,
        quarantine=tenant.plan.quarantine,
    )


def _key(key: ApiKey) -> KeyPolicy:
    return KeyPolicy(
        digest=bytes(key.digest),
        key_id=key.pk,
        tenant=key.tenant.name,
        scopes=frozenset(key.scopes),
        expires_wall_s=key.expires_at.timestamp() if key.expires_at else None,
        revoked=key.revoked_at is not None,
        allowed_networks=tuple(key.allowed_networks),
        quota=key.quota,
    )
