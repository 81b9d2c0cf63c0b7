"""Control plane: who may send, and how much. Owns plans, tenants, API keys, the version of it
all, and the record of who did what.

Nothing on the event path reads these tables: the snapshot builder does, whenever the version moves.
"""

import time
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest
from django.utils import timezone

from tenants.networks import canonical_networks
from tenants.quotas import Quota

# The five limits that a plan and a key have in common; a plan has the one per client address besides.
LIMIT_FIELDS = ("events_per_s", "burst_events", "bytes_per_s", "burst_bytes", "events_per_day")


class Scope(models.TextChoices):
    INGEST = "ingest", "ingest: send events"
    READ = "read", "read: see own events, usage and failures"


class Delivery(models.TextChoices):
    ASYNC = "async", "async: answered from the journal"
    ACK = "ack", "ack: waits for Kafka"
    FIRE_AND_FORGET = "fire_and_forget", "fire_and_forget: not journaled, may be lost"


class Quarantine(models.TextChoices):
    OFF = "off", "off: a rejected event is told to its sender and not kept"
    REDACTED = "redacted", "redacted: its text is kept, what looks personal or secret masked"
    HASH = "hash", "hash: only its SHA-256 is kept"


class TenantStatus(models.TextChoices):
    ACTIVE = "ACTIVE", "Active"
    SUSPENDED = "SUSPENDED", "Suspended"


class Limits(models.Model):
    """What a plan grants to a tenant, and what a key may take of it."""

    events_per_s = models.PositiveBigIntegerField("events/s", default=0, help_text="0: no limit.")
    burst_events = models.PositiveBigIntegerField(
        default=0, help_text="Largest batch, and what may come at once after a quiet time. 0: as many as events/s."
    )
    bytes_per_s = models.PositiveBigIntegerField("bytes/s", default=0, help_text="After decompression. 0: no limit.")
    burst_bytes = models.PositiveBigIntegerField(default=0, help_text="0: as many as bytes/s.")
    events_per_day = models.PositiveBigIntegerField("events/day", default=0, help_text="Per UTC day. 0: no limit.")

    class Meta:
        abstract = True

    def clean(self) -> None:
        super().clean()
        for rate, burst in (("events_per_s", "burst_events"), ("bytes_per_s", "burst_bytes")):
            if getattr(self, burst) and not getattr(self, rate):
                raise ValidationError({burst: f"A burst limits nothing without {rate}: set both, or leave both 0."})


class Plan(Limits):
    name = models.SlugField(max_length=63, unique=True)
    requests_per_s_per_address = models.PositiveBigIntegerField(
        "requests/s per client address", default=0, help_text="0: no limit."
    )
    idempotency_keys = models.BooleanField(
        default=False, help_text="Answer a repeated Idempotency-Key as the first time: one Redis round trip a request."
    )
    deduplicates = models.BooleanField(
        default=False, help_text="Drop an event whose eventId came before, for 24 h: one Redis round trip a request."
    )
    quarantine = models.CharField(max_length=8, choices=Quarantine, default=Quarantine.OFF)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def quota(self) -> Quota:
        limits = {field: getattr(self, field) for field in LIMIT_FIELDS}
        return Quota(**limits, requests_per_s_per_address=self.requests_per_s_per_address)


class Tenant(models.Model):
    name = models.CharField(
        max_length=63,
        unique=True,
        validators=[RegexValidator(r"\A[a-z0-9-]{1,63}\Z", "Use 1 to 63 of a-z, 0-9 and -.")],
        help_text="Written into every record, so it never changes: 1 to 63 of a-z, 0-9 and -.",
    )
    display_name = models.CharField(max_length=200, blank=True)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="tenants")
    status = models.CharField(max_length=9, choices=TenantStatus, default=TenantStatus.ACTIVE)
    default_delivery = models.CharField(
        max_length=15,
        choices=Delivery,
        default=Delivery.ASYNC,
        help_text="Where neither the request nor a routing rule says it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ApiKey(Limits):
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, help_text="What uses it, such as web-frontend.")
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, unique=True)
    scopes = models.JSONField(default=list)
    allowed_networks = models.JSONField(default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    replaces = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="successor"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"fb_{self.prefix} ({self.name}) of {self.tenant}"

    def clean(self) -> None:
        super().clean()
        unknown = set(self.scopes) - set(Scope.values)
        if unknown:
            raise ValidationError({"scopes": f"Unknown scope {', '.join(sorted(unknown))}: use ingest, read or both."})
        self.scopes = [scope for scope in Scope.values if scope in self.scopes]
        try:
            self.allowed_networks = canonical_networks(self.allowed_networks)
        except ValueError as error:
            raise ValidationError({"allowed_networks": str(error)}) from error

    @property
    def quota(self) -> Quota:
        """The key's own limits, beneath its tenant's; the address limit is the plan's alone."""
        return Quota(**{field: getattr(self, field) for field in LIMIT_FIELDS})

    @property
    def scope_names(self) -> str:
        return ", ".join(self.scopes)

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return "expired"
        return "active"


class ControlPlaneVersion(models.Model):
    """One row that moves with every write that the snapshot depends on.

    A reader takes the version before the tables: a write that lands in between is then in the tables already and moves
    the version again, so at worst one snapshot is built twice.
    """

    version = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.version)

    @classmethod
    def bump(cls) -> None:
        """Move the version, as the last statement of the writer's own transaction: the row stays locked until its end.

        Never behind the wall clock in ms, so that a recreated database does not fall below its predecessor's snapshots.
        """
        if not transaction.get_connection().in_atomic_block:
            raise transaction.TransactionManagementError("bump() belongs into the transaction of its write")
        wall_ms = time.time_ns() // 1_000_000
        moved = cls.objects.filter(pk=1).update(version=Greatest(F("version") + 1, Value(wall_ms)))
        if not moved:  # the row comes with the migration; only a flushed database lacks it
            cls.objects.create(pk=1, version=wall_ms)

    @classmethod
    def current(cls) -> int:
        row: Self | None = cls.objects.filter(pk=1).first()
        return row.version if row else 0


class AuditEntry(models.Model):
    """What somebody did in the console or by command. Rows are only ever added; PostgreSQL refuses anything else."""

    at = models.DateTimeField("when", default=timezone.now, editable=False, db_index=True)
    by = models.CharField("who", max_length=150)
    action = models.CharField("what", max_length=60, help_text="Such as tenant.suspend or rules.publish.")
    target = models.CharField("of what", max_length=400)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    reason = models.CharField("why", max_length=500, blank=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "audit log"
        permissions = [("export_auditentry", "Can export the audit log")]
        indexes = [
            models.Index(fields=("by", "-id"), name="audit_by_person"),
            models.Index(fields=("action", "-id"), name="audit_by_action"),
            models.Index(fields=("target", "-id"), name="audit_by_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.target} by {self.by}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises TypeError for a row that is there already."""
        if not self._state.adding:
            raise TypeError("an audit entry is never changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Raises TypeError: what was done stays on record."""
        raise TypeError("an audit entry is never deleted")
