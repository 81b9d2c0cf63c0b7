"""Control plane: how the console asks for a key's scopes and networks, which the table keeps as lists."""

from typing import Any

from django import forms

from tenants.models import ApiKey, Scope


class LinesField(forms.CharField):
    """A list of short texts, one a line."""

    widget = forms.Textarea(attrs={"rows": 3})

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
