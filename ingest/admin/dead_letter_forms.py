"""The console's forms for dead letters: why, where to, and which."""

from typing import Any

from django import forms

from ingest.dataplane.faults import Fault
from ingest.dead_letters.selection import OPEN, LetterCriteria
from ingest.models import BulkReplay, ReplayRoute

_FAULTS = [("", "any"), *((fault.value, fault.value) for fault in (Fault.CLUSTER, Fault.TOPIC, Fault.RECORD))]
_OPEN = [("", "waiting or exhausted"), *((status.value, status.value) for status in OPEN)]


class ReplayForm(forms.Form):
    """Where chosen letters go."""

    route = forms.ChoiceField(choices=ReplayRoute.choices, initial=ReplayRoute.RULES, widget=forms.RadioSelect)


class DiscardForm(forms.Form):
    """Why chosen letters are given up."""

    reason = forms.CharField(max_length=500, help_text="It stays with them: a tenant may ask.")


class EventForm(forms.Form):
    """The event of one letter."""

    event = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 24, "class": "vLargeTextField", "spellcheck": "false"}),
        strip=False,
        help_text="A JSON object, checked as an event that arrives is. tenant, eventId, receivedAt, receivedBy stay.",
    )


class BulkReplayForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes no parameter at run time
    """Which letters, where to, and why. The filters are those of the list."""

    tenant = forms.CharField(required=False)
    topic = forms.CharField(required=False)
    rule = forms.CharField(required=False)
    fault = forms.ChoiceField(choices=_FAULTS, required=False)
    code = forms.CharField(required=False)
    letter_status = forms.ChoiceField(label="Status", choices=_OPEN, required=False)

    class Meta:
        model = BulkReplay
        fields = ("route", "charges_quota", "reason")

    def criteria(self) -> LetterCriteria:
        """The filters that were filled in."""
        names = ("tenant", "topic", "rule", "fault", "code")
        chosen: dict[str, Any] = {name: self.cleaned_data[name] for name in names}
        return LetterCriteria(**chosen, status=self.cleaned_data["letter_status"])
