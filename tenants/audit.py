"""Control plane: the audit log. Each service that changes something an operator is answerable for calls `audit` in its
own transaction, so that neither is there without the other.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Model
from django.forms.models import model_to_dict

from tenants.models import AuditEntry

_REASON_CHARACTERS = AuditEntry._meta.get_field("reason").max_length
_TARGET_CHARACTERS = AuditEntry._meta.get_field("target").max_length
_MOST_VALUES = 200
# From each value to the next one in the index, so that a log of millions is not read through for what is in it.
_EACH_ONCE = """
WITH RECURSIVE known(value) AS (
    SELECT min({column}) FROM tenants_auditentry
    UNION ALL
    SELECT (SELECT min({column}) FROM tenants_auditentry WHERE {column} > known.value) FROM known
    WHERE known.value IS NOT NULL
)
SELECT value FROM known WHERE value IS NOT NULL LIMIT %s
"""


def audit(
    *,
    by: str,
    action: str,
    target: object,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Put one line into the log. Of `before` and `after` only what differs is kept, where both are given."""
    if before is not None and after is not None:
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        before = {name: before[name] for name in changed if name in before}
        after = {name: after[name] for name in changed if name in after}
    return AuditEntry.objects.create(
        by=by,
        action=action,
        target=target_of(target),
        before=plain(before),
        after=plain(after),
        reason=reason.strip()[:_REASON_CHARACTERS],
    )


def target_of(thing: object) -> str:
    """What the log calls a thing."""
    return str(thing)[:_TARGET_CHARACTERS]


def known_values(column: str) -> list[str]:
    """Every person (`by`) or action (`action`) that the log has, in order."""
    if column not in ("by", "action"):
        raise ValueError(f"{column} has no index for this")
    with connection.cursor() as cursor:
        cursor.execute(_EACH_ONCE.format(column=connection.ops.quote_name(column)), [_MOST_VALUES])
        return [value for (value,) in cursor.fetchall()]


def facts_of(row: Model) -> dict[str, Any]:
    """What a form could change of a row, for `before` and `after`, other rows by their names. Neither a password's hash
    nor bytes: they are secrets, or none of the log's business."""
    facts = {name: value for name, value in model_to_dict(row).items() if name not in ("id", "password")}
    for field in row._meta.fields:
        if field.is_relation and facts.get(field.name) is not None:
            facts[field.name] = str(getattr(row, field.name))
    return {name: value for name, value in facts.items() if not isinstance(value, bytes | memoryview)}


def plain(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Facts as JSON has them."""
    return None if facts is None else {name: _jsonable(value) for name, value in facts.items()}


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, Mapping):
        return {str(name): _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(inner) for inner in value]
    return str(value)
