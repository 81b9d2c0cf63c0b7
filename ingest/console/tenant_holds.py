"""What must be done before a tenant can be deleted, because nobody could do it afterwards."""

from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import Sum
from django.urls import reverse

from ingest.dead_letters.selection import OPEN
from ingest.models import DeadLetter, LedgerMinute
from ingest.rule_sets import live_rules
from tenants.models import Tenant


class Hold(NamedTuple):
    """What is left, and the page on which something can be done about it."""

    text: str
    address: str


def holds_of(tenant: Tenant) -> list[Hold]:
    """Empty: it may go."""
    return [*_letters(tenant), *_pending(tenant), *_rules(tenant)]


def _letters(tenant: Tenant) -> Iterator[Hold]:
    count = DeadLetter.objects.filter(tenant=tenant.name, status__in=OPEN).count()
    if count:
        address = f"{reverse('admin:ingest_deadletter_changelist')}?status=open&tenant={tenant}"
        yield Hold(f"{count:,} open dead letter{'s' if count > 1 else ''}: replay or discard them.", address)


def _pending(tenant: Tenant) -> Iterator[Hold]:
    """The ledger's copy is seconds old at most; what came since is delivered whether or not the tenant is there."""
    rows = LedgerMinute.objects.filter(tenant=tenant.name).exclude(pending=0).order_by()
    pending = rows.aggregate(events=Sum("pending"))["events"]
    if pending:
        text = (
            f"{pending:,} accepted event{'s' if pending > 1 else ''} not yet delivered: wait, or see what holds them."
        )
        yield Hold(text, reverse("console:journals"))


def _rules(tenant: Tenant) -> Iterator[Hold]:
    """A rule that names tenants is theirs alone; without its last one it would be everybody's."""
    live = {rule["name"] for rule in live_rules() if rule["enabled"] and tenant.name in rule["tenants"]}
    draft = set(tenant.routingrule_set.values_list("name", flat=True))
    for where, names in (("live", live), ("draft", draft)):
        for name in sorted(names):
            text = f"The {where} routing rule {name} names it: take it out of the rule, and publish."
            yield Hold(text, reverse("console:rules"))
