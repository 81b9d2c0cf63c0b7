"""Control plane: how the console asks for a rule of the draft; levels and key fields are lists in the table."""

from django import forms

from ingest.models import LEVELS, RoutingRule
from tenants.forms import LinesField


class RoutingRuleForm(forms.ModelForm):  # type: ignore[type-arg]  # it takes no parameter at run time
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
