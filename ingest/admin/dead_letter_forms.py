"""The console's forms for dead letters: which, where to, and why.

The list, the bulk plan and the discard of a whole cause read the same form, so each means the same letters.
"""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from django import forms

from ingest.dataplane.faults import Fault
from ingest.dead_letters.selection import ANY_OPEN, OPEN, LetterCriteria
from ingest.models import LetterStatus, ReplayRoute
from tenants.forms import ReasonForm

ANY = "any"
_FAULTS = [("", "any"), *((fault.value, fault.value) for fault in Fault)]
_OPEN = [(ANY_OPEN, "waiting or exhausted"), *((status.value, status.value) for status in OPEN)]
_CLOSED = [(status.value, status.value) for status in LetterStatus if status not in OPEN]
_STATUSES = [*_OPEN, *_CLOSED, (ANY, "any")]
# Filters that many letters have in common; the others are for somebody who looks for one.
OFTEN_USED = ("text", "tenant", "topic", "status")


def moment_field(label: str) -> forms.DateTimeField:
    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S")
    return forms.DateTimeField(label=label, required=False, widget=widget)


class LetterFilterForm(forms.Form):
    """Which letters: a field for each of `LetterCriteria`. Without any, those that are open."""

    text = forms.CharField(label="Words of source, message, stack trace", required=False)
    tenant = forms.CharField(required=False)
    topic = forms.CharField(required=False)
    status = forms.ChoiceField(choices=_STATUSES, required=False)
    rule = forms.CharField(required=False)
    fault = forms.ChoiceField(label="Whose fault", choices=_FAULTS, required=False)
    code = forms.CharField(required=False)
    event_id = forms.CharField(label="eventId", required=False)
    bulk = forms.IntegerField(label="Number of a bulk replay", required=False, min_value=1, max_value=2**31 - 1)
    dead_from = moment_field("Died at or after (UTC)")
    dead_before = moment_field("Died before (UTC)")

    def criteria(self) -> LetterCriteria:
        """What was filled in; the form must be valid."""
        asked: dict[str, Any] = {name: self.cleaned_data[name] for name in LetterCriteria.__struct_fields__}
        asked["status"] = {"": ANY_OPEN, ANY: ""}.get(asked["status"], asked["status"])
        return LetterCriteria(**asked)

    def rarely_used(self) -> list[forms.BoundField]:
        """The fields below the fold."""
        return [field for field in self if field.name not in OFTEN_USED]

    def often_used(self) -> list[forms.BoundField]:
        """The fields that are always in sight."""
        return [field for field in self if field.name in OFTEN_USED]

    def is_narrowed_rarely(self) -> bool:
        """Whether a field below the fold narrows the list: then it must be in sight, too."""
        return any(field.errors or field.data for field in self.rarely_used())


def query_of(criteria: LetterCriteria, **changed: str | int) -> str:
    """The query of a page that shows these letters, for a link."""
    chosen = msgspec.structs.replace(criteria, **changed)
    asked = {name: _in_query(getattr(chosen, name)) for name in LetterCriteria.__struct_fields__}
    asked["status"] = {ANY_OPEN: "", "": ANY}.get(chosen.status, chosen.status)
    return urlencode({name: value for name, value in asked.items() if value})


def _in_query(value: str | int | datetime | None) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%S}" if isinstance(value, datetime) else str(value or "")


class ReplayForm(ReasonForm):
    """Where chosen letters go."""

    route = forms.ChoiceField(choices=ReplayRoute.choices, initial=ReplayRoute.RULES, widget=forms.RadioSelect)
    field_order: tuple[str, ...] = ("route", "reason")


class DiscardForm(ReasonForm):
    """Why letters are given up; `last_id` is the newest of those that were shown."""

    last_id = forms.IntegerField(widget=forms.HiddenInput)


class EventForm(forms.Form):
    """The event of one letter, and what it was when the editing began."""

    event = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 20, "spellcheck": "false"}),
        strip=False,
        help_text="A JSON object, checked as an event that arrives is. tenant, eventId, receivedAt, receivedBy stay.",
    )
    seen = forms.CharField(widget=forms.HiddenInput)


class BulkReplayForm(LetterFilterForm, ReplayForm):
    """Which letters, where to, and why. Of closed letters none can be sent again."""

    status = forms.ChoiceField(choices=_OPEN, required=False)
    charges_quota = forms.BooleanField(
        label="Charge the tenants' quotas",
        required=False,
        help_text="Takes each event from its tenant's quota as if sent.",
    )
    # Of one form, so that it plans once, however often it is sent.
    form_token = forms.UUIDField(widget=forms.HiddenInput, required=False)
    field_order = (*LetterCriteria.__struct_fields__, "route", "charges_quota", "reason")
