"""A tenant's live tail: its page, and the address from which the browser itself reads the events.

They come from `GET /api/logs/tail` of the listen process (docs/streams.md): no worker holds a thread for a reader.
"""

from typing import Final
from urllib.parse import urlencode, urlsplit

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from ingest.console.pages import console_page, render
from ingest.dataplane.event import LEVELS
from ingest.tail_tickets import issue_ticket
from tenants.models import Tenant

# Who may read what a tenant has sent where it failed may read it where it did not.
_PERMISSION: Final = "ingest.view_deadletter"


@console_page(_PERMISSION)
def tail(request: HttpRequest, name: str) -> HttpResponseBase:
    """The page, which shows nothing without a script but says how to see the same without one."""
    tenant, listen_url = get_object_or_404(Tenant, name=name), listen_url_of(request)
    level, source = _filters(request)
    shown = {
        "tenant": tenant,
        "listen_url": listen_url,
        "address": f"{reverse('console:tenant_tail_address', args=[name])}?{urlencode(_said(level, source))}",
        "levels": list(dict.fromkeys(LEVELS.values())),
        "level": level,
        "source": source,
    }

    def page(request: HttpRequest) -> HttpResponse:
        return render(request, "console/tenant_tail.html", f"Live tail of {tenant}", **shown)

    return csp_update({"connect-src": ["'self'", *_origins(listen_url)]})(page)(request)


@console_page(_PERMISSION)
def address(request: HttpRequest, name: str) -> HttpResponse:
    """`{"url"}`, with a new ticket in it."""
    tenant = get_object_or_404(Tenant, name=name)
    query = urlencode({"ticket": issue_ticket(tenant.name), **_said(*_filters(request))})
    return JsonResponse({"url": f"{listen_url_of(request)}/api/logs/tail?{query}"})


def listen_url_of(request: HttpRequest) -> str:
    """Where this browser reaches the listen process; empty where there is none."""
    if settings.FOREBAY_LISTEN_URL:
        return str(settings.FOREBAY_LISTEN_URL)
    if not settings.FOREBAY_LISTEN_PORT:
        return ""
    host = urlsplit(f"//{request.get_host()}").hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{request.scheme}://{host}:{settings.FOREBAY_LISTEN_PORT}"


def _origins(url: str) -> list[str]:
    """Of where the browser may read from. With a path a Content-Security-Policy would mean that one alone."""
    parts = urlsplit(url)
    return [f"{parts.scheme}://{parts.netloc}"] if url else []


def _filters(request: HttpRequest) -> tuple[str, str]:
    """Level and source as they were asked for; a level that is none counts as not said."""
    level = request.GET.get("level", "")
    return level if level in LEVELS.values() else "", request.GET.get("source", "").strip()


def _said(level: str, source: str) -> dict[str, str]:
    return {name: value for name, value in (("level", level), ("source", source)) if value}
