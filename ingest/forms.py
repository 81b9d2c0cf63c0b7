"""Control plane: how the console asks for a rule of the draft; tenants, levels and key fields without any JSON."""

from typing import Any

from django import forms

from ingest.models import LEVELS, RoutingRule
from tenants.forms import LinesField
from tenants.models import Tenant

_NAMED_AT_MOST = 5


class TenantsField(LinesField):
    """Tenants by name, one a line: a list to choose from would be ten thousand long."""

    def prepare_value(self, value: Any) -> Any:
        """Rows at first, and what was typed after that."""
        is_typed = value is None or isinstance(value, str)
        return super().prepare_value(value if is_typed else [str(tenant) for tenant in value])

    def clean(self, value: Any) -> Any:
        names = super().clean(value)
        found = {tenant.name: tenant for tenant in Tenant.objects.filter(name__in=names)}
        unknown = [name for name in names if name not in found]
        if unknown:
            raise forms.ValidationError(f"There is no tenant {', '.join(unknown[:_NAMED_AT_MOST])}.")
        return list(found.values())

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed([str(tenant) for tenant in initial or []], data)


class RoutingRuleForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes no parameter at run time
    tenants = TenantsField(required=False, help_text="Names, one a line. Empty: every tenant.")
    levels = forms.MultipleChoiceField(
        choices=[(level, level) for level in LEVELS],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="None chosen: every level.",
    )
    key = LinesField(
        required=False,
        help_text=(
            "Fields, one a line: source, hostname, level, eventId, correlationId, timestamp or metadata.NAME. "
            "Empty: no key."
        ),
    )

    class Meta:
        model = RoutingRule
        fields = (
            "name",
            "enabled",
            "tenants",
            "source_glob",
            "levels",
            "metadata_field",
            "metadata_glob",
            "topic",
            "partitioning",
            "key",
            "delivery",
            "keep_ratio",
            "drop_reason",
        )
