"""Control plane: rejected events that a plan keeps, so that an operator can tell a sender what was wrong with them.

Workers write rows (`ingest.quarantine`), a Celery task deletes old ones; the event path never reads them.
"""

from typing import ClassVar

from django.db import models


class QuarantinedEvent(models.Model):
    """One event that was not accepted. `text` and `detail` are redacted; both are empty where only the hash is kept."""

    tenant = models.CharField(max_length=63)
    key_id = models.BigIntegerField("API key", help_text="The row of the key that sent it.")
    received_at = models.DateTimeField()
    dialect = models.CharField(max_length=31)
    correlation_id = models.CharField(max_length=255)
    index = models.PositiveIntegerField(help_text="Its place in the request, from 0.")
    code = models.CharField(max_length=63)
    detail = models.TextField(blank=True)
    size_bytes = models.PositiveIntegerField(help_text="As it was sent, decompressed.")
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ("-pk",)
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-received_at"], name="quarantine_by_tenant"),
            models.Index(fields=["received_at"], name="quarantine_by_age"),
            # The console's list, newest first, by each of its filters.
            models.Index(fields=["tenant", "-id"], name="quarantine_list_by_tenant"),
            models.Index(fields=["code", "-id"], name="quarantine_list_by_code"),
            models.Index(fields=["correlation_id"], name="quarantine_by_correlation"),
            models.Index(fields=["sha256"], condition=~models.Q(sha256=""), name="quarantine_by_sha256"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant}: {self.code}"
