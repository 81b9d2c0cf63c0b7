"""Control plane: what operators have said about breakers and parked topics. Rows are only ever added; the newest one
for a place holds. The snapshot builder reads them, no request does.
"""

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from tenants.models import Tenant


class OverrideKind(models.TextChoices):
    FORCED_OPEN = "FORCED_OPEN", "Force open: send nothing until it is reset"
    DISABLED = "DISABLED", "Disable: send whatever fails, until it is reset"
    RESET = "RESET", "Reset: closed, and on its own again"
    PARKED = "PARKED", "Park: a tenant's events for a topic wait"
    RESUMED = "RESUMED", "Resume: a tenant's events for a topic go out again"


BREAKER_KINDS = (OverrideKind.FORCED_OPEN, OverrideKind.DISABLED, OverrideKind.RESET)
PARKING_KINDS = (OverrideKind.PARKED, OverrideKind.RESUMED)


class Override(models.Model):
    """One word of an operator, with who and why. No topic: the cluster's breaker. A topic alone: its breaker. A tenant
    and a topic: whether that tenant's events for the topic are parked. `tenant` is a name and no key, as the row
    outlives what it is about."""

    kind = models.CharField(max_length=11, choices=OverrideKind)
    topic = models.CharField(
        max_length=249,
        blank=True,
        validators=[
            RegexValidator(r"\A[a-zA-Z0-9._-]+\Z", "Kafka allows letters, digits, dot, underscore and hyphen.")
        ],
        help_text="Empty: the breaker of the whole cluster.",
    )
    tenant = models.CharField(max_length=63, blank=True, help_text="To park or resume; breakers know no tenants.")
    by = models.CharField("who", max_length=150)
    reason = models.CharField("why", max_length=500)
    at = models.DateTimeField("when", default=timezone.now, editable=False)

    class Meta:
        ordering = ("-pk",)
        indexes = [models.Index(fields=("tenant", "topic", "-id"), name="override_newest_by_place")]

    def __str__(self) -> str:
        return f"{self.kind} {self.place}"

    @property
    def place(self) -> str:
        """What it is about, in words."""
        if self.tenant:
            return f"{self.tenant}'s events for topic {self.topic}"
        return f"topic {self.topic}" if self.topic else "the cluster"

    def clean(self) -> None:
        """Breakers belong to topics, parking to a tenant's events for one."""
        if self.kind in PARKING_KINDS and not (self.tenant and self.topic):
            raise ValidationError("Parking and resuming need both a tenant and a topic.")
        if self.kind in BREAKER_KINDS and self.tenant:
            raise ValidationError({"tenant": "A breaker is a topic's or the cluster's, never a tenant's."})
        # A tenant that is gone may have left events that are parked: these can still be sent.
        if self.kind == OverrideKind.PARKED and not Tenant.objects.filter(name=self.tenant).exists():
            raise ValidationError({"tenant": f"There is no tenant {self.tenant}."})
