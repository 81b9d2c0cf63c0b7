"""What an operator does to a tenant as a whole: each page says first what will happen, and asks why."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from redis import RedisError

from ingest.console.pages import console_page, render
from ingest.console.tenant_holds import holds_of
from ingest.shared_redis import shared_redis
from ingest.tenant_minutes import sent
from tenants import services
from tenants.console import name_of
from tenants.forms import ReasonForm
from tenants.models import ApiKey, Tenant, TenantStatus

_NAMED_KEYS = 20


@console_page("tenants.change_tenant")
def suspend(request: HttpRequest, name: str) -> HttpResponse:
    """Refuse its requests."""
    tenant = _tenant(name)
    refusal = "It is suspended already." if tenant.status == TenantStatus.SUSPENDED else ""
    page = {"title": f"Suspend {tenant}", "button": "Suspend the tenant", "refusal": refusal}
    done = f"Suspended {tenant}. Every worker refuses its requests within a second."
    return _decide(request, tenant, services.tenant_suspend, of_suspending, page, done)


@console_page("tenants.change_tenant")
def resume(request: HttpRequest, name: str) -> HttpResponse:
    """Take its requests again."""
    tenant = _tenant(name)
    refusal = "It is active already." if tenant.status == TenantStatus.ACTIVE else ""
    page = {"title": f"Resume {tenant}", "button": "Resume the tenant", "refusal": refusal, "is_harmless": True}
    done = f"Resumed {tenant}. Every worker takes its requests within a second."
    return _decide(request, tenant, services.tenant_resume, of_resuming, page, done)


@console_page("tenants.delete_tenant")
def delete(request: HttpRequest, name: str) -> HttpResponse:
    """Delete it and its keys, if nothing of it is left to do."""
    tenant = _tenant(name)
    page = {"title": f"Delete {tenant}", "button": "Delete the tenant and its keys", "holds": holds_of(tenant)}
    return _decide(request, tenant, services.tenant_delete, of_deleting, page, f"Deleted {tenant} and its keys.")


def _tenant(name: str) -> Tenant:
    return get_object_or_404(Tenant.objects.select_related("plan"), name=name)


def _decide(
    request: HttpRequest,
    tenant: Tenant,
    service: Callable[..., object],
    consequences: Callable[[Tenant], Iterator[str]],
    page: dict[str, Any],
    done: str,
) -> HttpResponse:
    form = ReasonForm(request.POST or None)
    if form.is_valid() and not page.get("refusal") and not page.get("holds"):
        service(tenant=tenant, by=name_of(request), reason=form.cleaned_data["reason"])
        messages.success(request, done)
        return redirect("console:tenant", tenant.name) if tenant.pk else redirect("console:tenants")
    page |= {"consequences": list(consequences(tenant)), "form": form, "back": reverse("console:tenant", args=[tenant])}
    return render(request, "console/tenant_confirm.html", **page)


def of_suspending(tenant: Tenant) -> Iterator[str]:
    """A sentence each."""
    yield "Within a second every worker answers its requests with 403. What was accepted before is still delivered."
    yield _keys(tenant, "stop working until it is resumed")
    yield _refused_now(tenant)


def of_resuming(tenant: Tenant) -> Iterator[str]:
    """A sentence each."""
    yield f"Within a second every worker takes its requests again, as the plan {tenant.plan} allows."
    yield _keys(tenant, "work again")


def of_deleting(tenant: Tenant) -> Iterator[str]:
    """A sentence each."""
    yield "The tenant is gone for good. Its ledger, its closed dead letters and its records in Kafka stay."
    yield _keys(tenant, "are deleted with it, as are expired and revoked ones")
    yield _refused_now(tenant)


def _keys(tenant: Tenant, what: str) -> str:
    active = [key for key in ApiKey.objects.filter(tenant=tenant, revoked_at=None) if key.state == "active"]
    if not active:
        return "It has no active key."
    named = ", ".join(f"fb_{key.prefix} ({key.name})" for key in active[:_NAMED_KEYS])
    return f"Its active keys {what}: {named}, {len(active)} in all."


def _refused_now(tenant: Tenant) -> str:
    try:
        with shared_redis() as client:
            events_per_s = sent(client, [tenant.name], time.time())[tenant.name]
    except RedisError:
        return "How much it sends now is not known: Redis does not answer."
    if not events_per_s:
        return "It sent nothing in the last whole minute."
    return f"It sends {events_per_s:,.1f} events/s now, all of which would be refused."
