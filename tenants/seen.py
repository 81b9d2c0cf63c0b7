"""Control plane: two people with one form open. Each form carries what its author saw of the row; what somebody else
has changed since is told, and is not undone by whoever saves last without knowing of it.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.db.models import Model

from tenants.audit import facts_of, plain, target_of
from tenants.models import AuditEntry


class SeenForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes no parameter at run time
    """A form that does not undo what its author has not seen. One that says nothing of what was seen is not asked.

    `facts_before` is what the row was before the form wrote over it.
    """

    seen = forms.JSONField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.facts_before = facts_of(self.instance)
        self._now = plain({name: value for name, value in self.facts_before.items() if name in self.fields}) or {}
        self.initial["seen"] = self._now

    def clean(self) -> Any:
        cleaned = super().clean()
        seen = self.cleaned_data.get("seen")
        undone = list(self._undone(seen)) if isinstance(seen, dict) else []
        if undone:
            self._has_seen_now()
            said = "Somebody has changed this since you opened it, and your form would undo that."
            how = "Put it right below, or save again to have it your way."
            self.add_error(None, [said, *undone, f"{self._last_line()}{how}"])
        return cleaned

    def _undone(self, seen: dict[str, Any]) -> Iterator[str]:
        """A sentence for each field that is another one than was seen, and would be another one again."""
        for name in self.changed_data:
            if name in self._now and name in seen and seen[name] != self._now[name]:
                yield f"{self[name].label}: it was {_in_words(seen[name])}, and is {_in_words(self._now[name])} now."

    def _has_seen_now(self) -> None:
        """Of the page that tells of it."""
        data: Any = self.data
        said = data.copy()  # what a request says is immutable
        said[self.add_prefix("seen")] = json.dumps(self._now)
        self.data = said

    def _last_line(self) -> str:
        """Of the audit log, about this row."""
        line = AuditEntry.objects.filter(target=target_of(self.instance)).order_by("-pk").first()
        return f"Last in the audit log: {line.action} by {line.by} at {line.at:%H:%M:%S} UTC. " if line else ""


def unless_changed(form: Any) -> Any:
    """The same form, which knows what its author saw."""
    return type(f"Seen{form.__name__}", (SeenForm, form), {})


def digest_of(row: Model) -> str:
    """The same for a row that nobody has changed."""
    return hashlib.sha256(json.dumps(plain(facts_of(row)), sort_keys=True).encode()).hexdigest()


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return "empty" if value in (None, "") else str(value)
