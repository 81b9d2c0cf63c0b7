"""Control plane: the tenants, keys and rules of the demo. Made where they are missing; what is there is kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from forebay.local import env_file
from ingest.models import RoutingRule
from ingest.rule_sets import draft_rules, live_rules, next_position, rules_publish
from ingest.rules.changes import changes_between
from tenants import api_keys, services
from tenants.audit import audit, facts_of
from tenants.models import ApiKey, ControlPlaneVersion, Plan, Quarantine, Tenant

BY, REASON = "manage.py demo", "the demo: something to show on every page"
SMALL_PLAN = "demo-small"
SMALL_EVENTS_PER_S = 10
PAYMENTS_TOPIC, PICTURES_TOPIC = "demo-payments", "demo-pictures"
_COMMENT = "Keys of the tenants that `manage.py demo` sends for. Remove a line and the next run issues a new key."


class Sender(NamedTuple):
    """A tenant of the demo: who it is, and how much it sends."""

    tenant: str
    display_name: str
    plan: str
    events_per_s: int
    batch_events: int


SENDERS = (
    Sender("demo-shop", "Demo: a web shop", "standard", 90, 30),
    Sender("demo-edge", "Demo: agents at the edge", "agent", 60, 20),
    # Five times what its plan allows, in batches that a burst has room for.
    Sender("demo-small", "Demo: over its quota", SMALL_PLAN, 5 * SMALL_EVENTS_PER_S, SMALL_EVENTS_PER_S),
)
_RULES: tuple[dict[str, object], ...] = (
    {"name": "demo-payments", "source_glob": "payments*", "topic": PAYMENTS_TOPIC, "key": ["source"]},
    {"name": "demo-pictures", "source_glob": "thumbnails", "topic": PICTURES_TOPIC, "key": ["source"]},
    {"name": "demo-noise", "source_glob": "search", "levels": ["DEBUG", "TRACE"], "drop_reason": "noise"},
)
# The next version, by somebody who did not look: demo-payments before it takes all that it would match.
_SHADOWED: tuple[dict[str, object], ...] = (
    {"name": "demo-refunds", "source_glob": "payments-refunds", "topic": PAYMENTS_TOPIC, "key": ["source"]},
)


def keys_ensure() -> dict[str, str]:
    """The secret of a valid key of each tenant, by the tenant's name."""
    path = keys_path()
    kept = env_file.read(path)
    _small_plan()
    secrets = {sender.tenant: _key(sender, kept.get(_variable(sender), "")) for sender in SENDERS}
    env_file.write(path, {_variable(sender): secrets[sender.tenant] for sender in SENDERS}, comment=_COMMENT)
    return secrets


def keys_path() -> Path:
    """The database has only hashes of them."""
    return Path(settings.FOREBAY_VAR_DIR) / "demo-tenants.env"


@transaction.atomic
def rules_ensure() -> str | None:
    """Put the demo's rules, which are for its tenants alone, behind those of the draft and publish them. Returns why
    not, where somebody is at work on the draft: what they have not published is not the demo's to publish."""
    for rules in (_RULES, _SHADOWED):
        missing = list(_missing(rules))
        if missing and changes_between(live_rules(), draft_rules()):
            return "the draft has changes that are not published: publish or discard them, then run this again"
        if missing:
            _publish(missing)
    return None


def _publish(missing: Sequence[dict[str, object]]) -> None:
    # A rule without tenants is for everybody: one that is missing must not go unnoticed.
    tenants = [Tenant.objects.get(name=sender.tenant) for sender in SENDERS]
    for place, fields in enumerate(missing):
        rule = RoutingRule(position=next_position() + place, **fields)
        rule.full_clean()
        rule.save()
        rule.tenants.set(tenants)
        audit(by=BY, action="routingrule.add", target=rule, reason=REASON, after=facts_of(rule))
    rules_publish(by=BY, reason=REASON)


def _missing(rules: Sequence[dict[str, object]]) -> Iterator[dict[str, object]]:
    known = set(RoutingRule.objects.values_list("name", flat=True))
    yield from (fields for fields in rules if fields["name"] not in known)


@transaction.atomic
def _small_plan() -> None:
    plan, is_new = Plan.objects.get_or_create(
        name=SMALL_PLAN,
        defaults={
            "events_per_s": SMALL_EVENTS_PER_S,
            "burst_events": 2 * SMALL_EVENTS_PER_S,
            "events_per_day": 500_000,
            "quarantine": Quarantine.REDACTED,
        },
    )
    if is_new:
        audit(by=BY, action="plan.add", target=plan, reason=REASON, after=facts_of(plan))
        ControlPlaneVersion.bump()


def _key(sender: Sender, kept: str) -> str:
    tenant = Tenant.objects.filter(name=sender.tenant).first() or services.tenant_create(
        name=sender.tenant, plan=sender.plan, display_name=sender.display_name, by=BY
    )
    known = ApiKey.objects.filter(tenant=tenant, digest=api_keys.digest(kept)).first() if kept else None
    if known is not None and known.state == "active":
        return kept
    _, secret = services.key_issue(tenant=tenant, name="demo", scopes=("ingest", "read"), by=BY)
    return secret


def _variable(sender: Sender) -> str:
    return f"{sender.tenant.upper().replace('-', '_')}_KEY"
