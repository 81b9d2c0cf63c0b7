"""Control plane: the roles of the operators' console, as Django's groups. A migration makes them; `roles_apply` gives
each the permissions named here, and what else the group was given by hand stays.
"""

from collections.abc import Iterable
from typing import Any

_LOOKED_AT = {
    "ingest": (
        "breakertransition",
        "bulkreplay",
        "deadletter",
        "deadletterattempt",
        "incident",
        "journalstate",
        "ledgerhour",
        "ledgerminute",
        "notification",
        "override",
        "platformminute",
        "quarantinedevent",
        "routingrule",
        "ruleset",
    ),
    "tenants": ("apikey", "auditentry", "plan", "tenant"),
}
_VIEWER = {f"{app}.view_{model}" for app, models in _LOOKED_AT.items() for model in models}
_OPERATOR = {
    "ingest.change_deadletter",
    "ingest.add_bulkreplay",
    "ingest.change_bulkreplay",
    "ingest.add_override",
    "ingest.change_incident",
    "ingest.delete_quarantinedevent",
}
_ROUTING = {
    "ingest.add_routingrule",
    "ingest.change_routingrule",
    "ingest.delete_routingrule",
    "ingest.add_ruleset",
}
_TENANTS = {f"tenants.{verb}_{model}" for model in ("tenant", "plan") for verb in ("add", "change", "delete")} | {
    "tenants.add_apikey",
    "tenants.change_apikey",
}
_PEOPLE = {f"auth.{verb}_{model}" for model in ("user", "group") for verb in ("view", "add", "change", "delete")} | {
    "tenants.export_auditentry"
}

ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset(_VIEWER),
    "operator": frozenset(_VIEWER | _OPERATOR),
    "routing editor": frozenset(_VIEWER | _ROUTING),
    "tenant manager": frozenset(_VIEWER | _TENANTS),
    "admin": frozenset(_VIEWER | _OPERATOR | _ROUTING | _TENANTS | _PEOPLE),
}
"""`operator` decides about dead letters, breakers and parked topics; everybody sees everything but secrets."""


def roles_apply(groups: Any, permissions: Any) -> None:
    """`groups` and `permissions` are the managers of auth's models, or of a migration's historical ones."""
    for role, names in ROLES.items():
        group, _ = groups.get_or_create(name=role)
        group.permissions.add(*_found(permissions, names))


def _found(permissions: Any, names: Iterable[str]) -> list[Any]:
    found = []
    for name in sorted(names):
        app, _, codename = name.partition(".")
        found.append(permissions.get(content_type__app_label=app, codename=codename))
    return found
