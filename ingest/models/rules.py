"""Control plane: where events go. `RoutingRule` rows are the draft that operators work on; a `RuleSet` is a version of
it that was published, and the newest one is what the snapshot builder hands to the workers. No request reads either.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from ingest.dataplane.partitioning import Partitioning
from tenants.models import Delivery, Tenant

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
KEY_FIELDS = ("source", "hostname", "level", "eventId", "correlationId", "timestamp")


def _check_levels(levels: Any) -> None:
    if not isinstance(levels, list) or not set(levels) <= set(LEVELS):
        raise ValidationError(f"A list out of {', '.join(LEVELS)}; an empty one matches every level.")


def _check_key(fields: Any) -> None:
    names = fields if isinstance(fields, list) else [None]
    for name in names:
        if not isinstance(name, str) or (name not in KEY_FIELDS and not name.startswith("metadata.")):
            raise ValidationError(
                f"A list out of {', '.join(KEY_FIELDS)} and metadata.NAME; an empty one sends no key."
            )


class RoutingRule(models.Model):
    """A rule of the draft. Rules are tried by position; the first that matches decides; the default takes the rest."""

    name = models.SlugField(max_length=63, unique=True)
    position = models.PositiveIntegerField(default=100, help_text="Lower comes first.")
    enabled = models.BooleanField(default=True)
    tenants = models.ManyToManyField(Tenant, blank=True, help_text="None chosen: every tenant.")
    source_glob = models.CharField(
        max_length=255, blank=True, help_text="Such as payment-*; empty matches every source."
    )
    levels = models.JSONField(
        default=list, blank=True, validators=[_check_levels], help_text='Such as ["ERROR", "FATAL"].'
    )
    metadata_field = models.CharField(
        max_length=255, blank=True, help_text="Matches events that have this metadata name."
    )
    metadata_glob = models.CharField(max_length=255, blank=True, help_text="And whose value matches this; empty: any.")
    topic = models.CharField(
        max_length=249,
        blank=True,
        validators=[RegexValidator(r"^[a-zA-Z0-9._-]+$", "Kafka allows letters, digits, dot, underscore and hyphen.")],
    )
    partitioning = models.CharField(
        max_length=20,
        choices=[(kind.value, kind.value) for kind in Partitioning],
        default=Partitioning.KEY_HASH.value,
    )
    key = models.JSONField(default=list, blank=True, validators=[_check_key], help_text='Such as ["source"].')
    delivery = models.CharField(max_length=15, choices=Delivery, blank=True, help_text="Empty: the tenant's own.")
    keep_ratio = models.FloatField(
        default=1.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Below 1 the rest is dropped as `sampled`, chosen by eventId.",
    )
    drop_reason = models.SlugField(
        max_length=63, blank=True, help_text="Set: matching events are dropped for this reason."
    )

    class Meta:
        ordering = ("position", "pk")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """A rule either sends somewhere or drops for a reason."""
        if bool(self.topic) == bool(self.drop_reason):
            raise ValidationError("Give a topic to send to, or a reason to drop for; one of the two.")
        if self.metadata_glob and not self.metadata_field:
            raise ValidationError({"metadata_field": "A value to match needs the name of the field."})
        if self.partitioning == Partitioning.SEVERITY_FIRST and not self.key:
            raise ValidationError({"key": "severity_first hashes a key over the other partitions: name one."})


class RuleSet(models.Model):
    """The rules as they were published once. Rows are only ever added; the one with the highest number is live."""

    number = models.PositiveIntegerField(unique=True)
    rules = models.JSONField(default=list, help_text="Every rule of the draft in order, the disabled ones too.")
    by = models.CharField("who", max_length=150)
    reason = models.CharField("why", max_length=500)
    at = models.DateTimeField("when", default=timezone.now, editable=False)
    restores = models.PositiveIntegerField(null=True, blank=True, help_text="The number that a rollback brought back.")

    class Meta:
        ordering = ("-number",)
        verbose_name = "published rules"
        verbose_name_plural = "published rules"

    def __str__(self) -> str:
        return f"rules version {self.number}"
