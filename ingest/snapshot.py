"""From the ORM to the immutable snapshot: the only bridge from the control plane to the event path.

Control plane; runs in the builder process (`manage.py snapshot`), never in a request.
"""

import time
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from ingest.dataplane.policy import Header, KeyPolicy, OverridePolicy, TenantPolicy, TopicPolicy, UnusableTopic, dump
from ingest.models import Override, RuleSet
from ingest.rule_sets import live_rule_set, live_rules
from ingest.rules.facts import Facts, policies_of
from tenants.models import ApiKey, ControlPlaneVersion, Tenant, TenantStatus

_FORMER_VERSIONS = 50


def current_version() -> int:
    """The control plane's version: one indexed row."""
    return ControlPlaneVersion.current()


def topic_names() -> list[str]:
    """Every topic that an event can be routed to."""
    return sorted({settings.FOREBAY_TOPIC_DEFAULT, *_topics_of(live_rules())})


def former_topic_names() -> list[str]:
    """Topics to which events were routed lately: what waits for one of them in a journal must still be let out. A topic
    of a version that was replaced longer ago than the journal keeps anything is left out."""
    since = timezone.now() - timedelta(seconds=settings.FOREBAY_JOURNAL_MAX_AGE_S)
    found: set[str] = set()
    # The newest one that is older than that was live at its beginning.
    for rules, at in RuleSet.objects.order_by("-number").values_list("rules", "at")[:_FORMER_VERSIONS]:
        found |= _topics_of(rules)
        if at < since:
            break
    return sorted(found.difference(topic_names()))


def _topics_of(rules: Sequence[Facts]) -> set[str]:
    return {policy.topic for policy in policies_of(rules) if policy.topic}


def build(
    topics: tuple[TopicPolicy, ...], label_first: Sequence[str] = (), unusable: tuple[UnusableTopic, ...] = ()
) -> bytes:
    """The bytes of a snapshot of what is committed now. The version is read first: a write in between makes it older
    than its content, and it is built once more. `label_first` names tenants that should have a label in the metrics
    before all others, which follow by age until there are enough."""
    with transaction.atomic():
        version = current_version()
        published = live_rule_set()
        overrides = tuple(_overrides())
        tenants = [_tenant(tenant) for tenant in Tenant.objects.select_related("plan").order_by("pk").iterator()]
        names = {tenant.name for tenant in tenants}
        keys = [_key(key) for key in ApiKey.objects.select_related("tenant").order_by("pk").iterator()]
    # A tenant may be made between the two queries; its key comes with the next snapshot, which it has made due.
    keys = [key for key in keys if key.tenant in names]
    header = Header(
        version=version,
        built_wall_ms=time.time_ns() // 1_000_000,
        rules=policies_of(published.rules) if published else (),
        topics=topics,
        labelled_tenants=_labelled([tenant.name for tenant in tenants], label_first),
        tenants=len(tenants),
        keys=len(keys),
        overrides=overrides,
        rules_version=published.number if published else 0,
        unusable=unusable,
    )
    return dump(header, tenants, keys)


def _labelled(names: list[str], label_first: Sequence[str]) -> tuple[str, ...]:
    known = set(names)
    ordered = dict.fromkeys([*(name for name in label_first if name in known), *names])
    return tuple(ordered)[: settings.FOREBAY_METRICS_TOP_TENANTS]


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
