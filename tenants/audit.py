"""Control plane: the audit log. Each service that changes something an operator is answerable for calls `audit` in its
own transaction, so that neither is there without the other.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import Model
from django.forms.models import model_to_dict

from tenants.models import AuditEntry

_REASON_CHARACTERS = AuditEntry._meta.get_field("reason").max_length


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
        target=str(target)[:400],
        before=_plain(before),
        after=_plain(after),
        reason=reason.strip()[:_REASON_CHARACTERS],
    )


def facts_of(row: Model) -> dict[str, Any]:
    """What a form could change of a row, for `before` and `after`; bytes are secrets, or none of the log's business."""
    return {name: value for name, value in model_to_dict(row).items() if not isinstance(value, bytes | memoryview)}


def _plain(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As JSON has it."""
    return None if facts is None else {name: _jsonable(value) for name, value in facts.items()}


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(inner) for inner in value]
    return str(value)
