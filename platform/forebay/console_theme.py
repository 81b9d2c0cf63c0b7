"""How the console looks and what its menu offers: django-unfold's settings, and what it takes to see an entry."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _may(permission: str) -> Callable[[HttpRequest], bool]:
    def may(request: HttpRequest) -> bool:
        return bool(request.user.has_perm(permission))

    return may


def _entry(title: str, icon: str, url: str, permission: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(url), "permission": _may(permission)}


_NAVIGATION = [
    {
        "title": "Now",
        "items": [
            _entry("Overview", "monitoring", "admin:index", "ingest.view_platformminute"),
            _entry("Alerts", "notifications", "admin:ingest_incident_changelist", "ingest.view_incident"),
            _entry("Breakers and topics", "electric_bolt", "console:breakers", "ingest.view_override"),
            _entry("Journals", "inventory_2", "console:journals", "ingest.view_journalstate"),
            _entry("Runbook", "menu_book", "console:runbook", "ingest.view_incident"),
        ],
    },
    {
        "title": "Events",
        "items": [
            _entry("Routing rules", "alt_route", "console:rules", "ingest.view_routingrule"),
            _entry("Dead letters", "mail_off", "admin:ingest_deadletter_changelist", "ingest.view_deadletter"),
            _entry("Bulk replays", "replay", "admin:ingest_bulkreplay_changelist", "ingest.view_bulkreplay"),
            _entry("Quarantine", "shield", "admin:ingest_quarantinedevent_changelist", "ingest.view_quarantinedevent"),
            _entry("Ledger", "receipt_long", "admin:ingest_ledgerminute_changelist", "ingest.view_ledgerminute"),
        ],
    },
    {
        "title": "Senders",
        "items": [
            _entry("Tenants", "groups", "console:tenants", "tenants.view_tenant"),
            _entry("API keys", "key", "admin:tenants_apikey_changelist", "tenants.view_apikey"),
            _entry("Plans", "speed", "admin:tenants_plan_changelist", "tenants.view_plan"),
        ],
    },
    {
        "title": "People",
        "items": [
            _entry("Audit log", "history", "admin:tenants_auditentry_changelist", "tenants.view_auditentry"),
            _entry("Users", "person", "admin:auth_user_changelist", "auth.view_user"),
            _entry("Roles", "badge", "admin:auth_group_changelist", "auth.view_group"),
        ],
    },
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Forebay",
    "SITE_HEADER": "Forebay",
    "SITE_SUBHEADER": "Operators' console",
    "SITE_SYMBOL": "water",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("console/favicon.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [lambda request: static("console/console.css")],
    "SCRIPTS": [
        lambda request: static("console/unfold.js"),
        lambda request: static("console/console.js"),
    ],
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .013 236.6)",
            "100": "oklch(94.8% .027 236.8)",
            "200": "oklch(89.8% .058 230.9)",
            "300": "oklch(82.8% .105 230.3)",
            "400": "oklch(74.2% .145 232.7)",
            "500": "oklch(64% .155 237.3)",
            "600": "oklch(52.5% .14 241.9)",
            "700": "oklch(46% .124 242.7)",
            "800": "oklch(40.2% .102 240.8)",
            "900": "oklch(35.4% .083 240.9)",
            "950": "oklch(26.8% .061 243.2)",
        },
    },
    "SIDEBAR": {"navigation": _NAVIGATION},
}
