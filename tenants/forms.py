"""Control plane: how the console asks for a reason, and for what the table of keys keeps as lists."""

from datetime import timedelta
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from tenants import api_keys
from tenants.models import ApiKey, AuditEntry, Scope

_OVERLAPS = {
    "at once": timedelta(0),
    "in 1 hour": timedelta(hours=1),
    "in 24 hours": timedelta(days=1),
    "in 7 days": timedelta(days=7),
    "in 30 days": timedelta(days=30),
}


def _reason_field(**options: Any) -> forms.CharField:
    longest = AuditEntry._meta.get_field("reason").max_length
    return forms.CharField(max_length=longest, help_text="Kept in the audit log.", **options)


class ReasonForm(forms.Form):
    """What a page asks that says what will happen."""

    reason = _reason_field(widget=forms.Textarea(attrs={"rows": 2}))


class DeleteForm(ReasonForm):
    """What the row was that somebody looked at, as a digest."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)


class RotateForm(ReasonForm):
    """How long both keys work."""

    overlap_s = forms.TypedChoiceField(
        label="The old key ends",
        coerce=int,
        choices=[(int(span.total_seconds()), name) for name, span in _OVERLAPS.items()],
        initial=int(timedelta(days=1).total_seconds()),
    )
    field_order = ("overlap_s", "reason")


def reasoned(form: Any) -> Any:
    """The same form, which also asks why."""
    reason = _reason_field(widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))
    return type(f"Reasoned{form.__name__}", (form,), {"reason": reason})


class LinesField(forms.CharField):
    """A list of short texts, one a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or []) != self.to_python(data))


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes no parameter at run time
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=[Scope.INGEST.value]
    )
    allowed_networks = LinesField(
        required=False, help_text="CIDRs such as 10.0.0.0/8 or 2001:db8::/32, one a line. Empty: any address."
    )

    class Meta:
        model = ApiKey
        fields = (
            "tenant",
            "name",
            "scopes",
            "expires_at",
            "allowed_networks",
            "events_per_s",
            "burst_events",
            "bytes_per_s",
            "burst_bytes",
            "events_per_day",
        )


class IssueForm(ApiKeyForm):
    """A key's prefix is in the form already: whoever sends the form twice does not get two keys."""

    new_prefix = forms.RegexField(r"\A[a-z0-9]{8}\Z", widget=forms.HiddenInput, initial=api_keys.new_prefix)
