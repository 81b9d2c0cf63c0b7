"""Rules tried: what the live ones and the draft would do with an event, and with what a tenant has sent lately."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from redis import RedisError

from ingest.console.pages import console_page, render
from ingest.dataplane.errors import BadRequest, EventRejected
from ingest.rule_sets import draft_rules, live_rule_set
from ingest.rules.known_topics import topics_for
from ingest.rules.trials import Tried, event_try, recent_try
from ingest.shared_redis import shared_redis
from tenants.models import Tenant

_TENANTS_OFFERED = 100
_EXAMPLE = '{\n  "source": "checkout",\n  "level": "ERROR",\n  "message": "card declined"\n}'


class TryForm(forms.Form):
    """Whose event, and which."""

    tenant = forms.CharField(
        max_length=63, widget=forms.TextInput(attrs={"list": "tenants", "autocomplete": "off"}), help_text="Its name."
    )
    event = forms.CharField(
        required=False,
        strip=False,
        initial=_EXAMPLE,
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}),
        help_text="One JSON object, as it is sent to POST /api/logs. It is routed, and not sent anywhere.",
    )

    def clean_tenant(self) -> Tenant:
        name = self.cleaned_data["tenant"]
        tenant = Tenant.objects.filter(name=name).first()
        if tenant is None:
            raise forms.ValidationError(f"There is no tenant {name}.")
        return tenant


@console_page("ingest.view_routingrule")
def try_rules(request: HttpRequest) -> HttpResponse:
    """The form, and below it what came of it. Nothing is changed or sent, so a viewer may do it too."""
    form = TryForm(request.POST or None, initial={"tenant": request.GET.get("tenant", "")})
    live = live_rule_set()
    context: dict[str, Any] = {
        "form": form,
        "live": live,
        "tenants": Tenant.objects.order_by("name").values_list("name", flat=True)[:_TENANTS_OFFERED],
    }
    if form.is_valid():
        tenant, event = form.cleaned_data["tenant"], form.cleaned_data["event"]
        rules: dict[str, Any] = {"live": live.rules if live else [], "draft": draft_rules()}
        rules["topics"] = topics_for(rules["live"] + rules["draft"])
        is_recent = request.POST.get("what") == "recent"
        context |= _recent(tenant, rules) if is_recent else _event(request, tenant, event, rules)
    return render(request, "console/rules_try.html", "Try the rules", **context)


def _event(request: HttpRequest, tenant: Tenant, event: str, rules: dict[str, Any]) -> dict[str, Any]:
    try:
        tried = event_try(text=event, tenant=tenant, address=request.META.get("REMOTE_ADDR") or "unknown", **rules)
    except (BadRequest, EventRejected) as error:
        return {"rejected": error}
    return {"tried": tried, "sides": _sides(tried)}


def _sides(tried: Tried) -> list[tuple[str, Any]]:
    return [("Live", tried.live), ("Draft", tried.draft)]


def _recent(tenant: Tenant, rules: dict[str, Any]) -> dict[str, Any]:
    try:
        with shared_redis() as client:
            return {"sample": recent_try(client, tenant=tenant, **rules), "tenant": tenant}
    except RedisError:
        return {"is_redis_away": True}
