"""The page before a change of a plan, or of a tenant's plan, is live: what it changes, for whom, and who of them sends
more than that now. The forms are those of tenants/admin/senders.py, which knows nothing of who sends.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets, label_for_field, unquote
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from redis import RedisError

from ingest.shared_redis import shared_redis
from ingest.tenant_minutes import sent
from tenants.admin.senders import PlanAdmin, TenantAdmin
from tenants.audit import facts_of
from tenants.console import VersionedAdmin
from tenants.models import Plan, Tenant

_NAMED_TENANTS = 10
_NOT_SHOWN = {"csrfmiddlewaretoken", "is_previewed"}

Facts = Mapping[str, Any]


class Change(NamedTuple):
    """What a form would change: of a plan before and after, for these tenants by name. `sentences` come first."""

    sentences: Sequence[str]
    before: Facts
    after: Facts
    tenants: Sequence[str]


class PreviewedAdmin(VersionedAdmin):
    """A change is shown before it is live."""

    def change_of(self, form: Any) -> Change | None:
        """What a valid form would change of what tenants may send; None where it changes nothing of that."""
        raise NotImplementedError

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        if object_id and request.method == "POST" and "is_previewed" not in request.POST:
            preview = self._preview(request, object_id)
            if preview:
                return preview
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _preview(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """None where there is nothing to show: what is wrong with the form, and who may not, is told as ever."""
        row = self.get_object(request, unquote(object_id))
        if row is None or not self.has_change_permission(request, row):
            return None
        fields = flatten_fieldsets(self.get_fieldsets(request, row))
        form = self.get_form(request, row, change=True, fields=fields)(request.POST, instance=row)
        change = self.change_of(form) if form.is_valid() else None
        if change is None:
            return None
        said = [(name, value) for name, values in request.POST.lists() for value in values if name not in _NOT_SHOWN]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change {row}",
            "consequences": [*change.sentences, *of_changing(change, _rates(change.tenants))],
            "is_harmless": not (change.tenants and _lowered(change)),
            "hidden": [*said, ("is_previewed", "yes")],
            "button": f"Change {row}",
            "back": request.path,
        }
        return TemplateResponse(request, "console/tenant_confirm.html", context)


@admin.register(Plan)
class PreviewedPlanAdmin(PreviewedAdmin, PlanAdmin):
    """A plan is all its tenants' at once."""

    def change_of(self, form: Any) -> Change | None:
        before, after = form.facts_before, facts_of(form.instance)
        names = list(form.instance.tenants.values_list("name", flat=True))
        return Change((), before, after, names) if before != after else None


@admin.register(Tenant)
class PreviewedTenantAdmin(PreviewedAdmin, TenantAdmin):
    """A tenant's plan is all its limits."""

    def change_of(self, form: Any) -> Change | None:
        before, tenant = Tenant.objects.select_related("plan").get(pk=form.instance.pk), form.instance
        sentences = [
            f"{label_for_field(name, Tenant)}: {getattr(before, name)} → {getattr(tenant, name)}"
            for name in ("plan", "default_delivery")
            if getattr(before, name) != getattr(tenant, name)
        ]
        if not sentences:
            return None
        without_name = {"name": ""}
        return Change(
            sentences, facts_of(before.plan) | without_name, facts_of(tenant.plan) | without_name, [tenant.name]
        )


def of_changing(change: Change, events_per_s: Mapping[str, float] | None) -> Iterator[str]:
    """A sentence each. `events_per_s` is what the tenants send now, None where Redis is away."""
    for name, after in change.after.items():
        if after != change.before[name]:
            yield f"{label_for_field(name, Plan)}: {_in_words(name, change.before[name])} → {_in_words(name, after)}"
    if not change.tenants:
        yield "No tenant is on it: nobody's limits change."
        return
    yield f"Live on every worker within a second, for {_named(change.tenants)}."
    if "burst_events" in _lowered(change):
        yield f"A batch of more than {_burst(change.after):,} events is refused with 413, however long one waits."
    if "events_per_s" in _lowered(change):
        yield _over_now(change.after["events_per_s"], events_per_s)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_TENANTS:,} more" if len(names) > _NAMED_TENANTS else ""
    return f"{', '.join(names[:_NAMED_TENANTS])}{more}"


def _lowered(change: Change) -> set[str]:
    """The limits that allow less than before; 0 allows all."""
    names = {name for name in change.after if "_per_" in name or name == "burst_bytes"}
    lowered = {name for name in names if 0 < change.after[name] < (change.before[name] or float("inf"))}
    is_burst_lowered = 0 < _burst(change.after) < (_burst(change.before) or float("inf"))
    return lowered | {"burst_events"} if is_burst_lowered else lowered


def _burst(plan: Facts) -> int:
    """The largest batch; 0 is any."""
    return int(plan["burst_events"] or plan["events_per_s"])


def _over_now(limit: int, events_per_s: Mapping[str, float] | None) -> str:
    if events_per_s is None:
        return "Who sends more than that now is not known: Redis does not answer."
    over = [(rate, name) for name, rate in events_per_s.items() if rate > limit]
    if not over:
        return f"Nobody who is concerned sent more than {limit:,} events/s in the last whole minute."
    named = _named([f"{name} ({rate:,.1f} events/s)" for rate, name in sorted(over, reverse=True)])
    return f"More than {limit:,} events/s is sent now by {named}: what is above it gets a 429."


def _rates(tenants: Sequence[str]) -> Mapping[str, float] | None:
    try:
        with shared_redis() as client:
            return sent(client, tenants, time.time())
    except RedisError:
        return None


def _in_words(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == 0:
        return "no limit" if "_per_" in name else "as many as in a second"
    return f"{value:,}" if isinstance(value, int) else str(value)
