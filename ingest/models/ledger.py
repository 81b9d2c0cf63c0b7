"""Control plane: the ledger as the workers' journals tell it, kept for good.

The copy task alone writes it (ingest/tasks/ledger.py), from absolute totals that only grow; so whatever is told twice,
late or out of order changes nothing. No request of the event path reads it.
"""

from datetime import UTC, datetime

from django.db import models
from django.db.models import Q


class LedgerTotals(models.Model):
    """What became of a tenant's events of some time, in the words of docs/ledger.md."""

    tenant = models.CharField(max_length=63)
    minute = models.BigIntegerField(help_text="Minutes since 1970, of the beginning.")

    received = models.BigIntegerField(default=0)
    journaled = models.BigIntegerField(default=0)
    retracted = models.BigIntegerField(default=0, help_text="Refused by Kafka while their sender still waited.")
    delivered = models.BigIntegerField(default=0)
    dead_lettered = models.BigIntegerField(default=0)
    rejections = models.JSONField(default=dict, blank=True)
    dropped = models.JSONField(default=dict, blank=True)
    discarded = models.JSONField(default=dict, blank=True)
    # These four follow from the columns above. They are kept so that the database can sum and find by them.
    dropped_events = models.BigIntegerField(default=0)
    discarded_events = models.BigIntegerField(default=0)
    pending = models.BigIntegerField(default=0)
    unexplained = models.BigIntegerField(default=0, help_text="received - accepted - rejected: has to be 0.")

    class Meta:
        abstract = True

    @property
    def accepted(self) -> int:
        """Answered 200 or 202."""
        return self.journaled - self.retracted

    @property
    def rejected(self) -> int:
        """Answered with an error, each by its own."""
        return sum(map(int, self.rejections.values()), self.retracted)

    @property
    def at(self) -> datetime:
        """When the minute or the hour began."""
        return datetime.fromtimestamp(self.minute * 60, UTC)


class LedgerMinute(LedgerTotals):
    """The totals of one tenant and minute of acceptance in one journal."""

    journal = models.CharField(max_length=36)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-minute", "tenant")
        verbose_name = "ledger minute"
        constraints = [models.UniqueConstraint(fields=["journal", "tenant", "minute"], name="ingest_ledger_account")]
        indexes = [
            models.Index(fields=["tenant", "minute"], name="ingest_ledger_tenant"),
            models.Index(fields=["minute"], name="ingest_ledger_minute"),
            models.Index(fields=["journal"], condition=~Q(pending=0), name="ingest_ledger_pending"),
            models.Index(fields=["tenant", "minute"], condition=~Q(dead_lettered=0), name="ingest_ledger_dead"),
            models.Index(fields=["tenant"], condition=~Q(unexplained=0), name="ingest_ledger_unexplained"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant} at {self.at:%Y-%m-%d %H:%M}"


class LedgerHour(LedgerTotals):
    """Minutes of the past, those of all journals together."""

    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-minute", "tenant")
        verbose_name = "ledger hour"
        constraints = [models.UniqueConstraint(fields=["tenant", "minute"], name="ingest_ledger_hour")]
        indexes = [models.Index(fields=["minute"], name="ingest_ledger_hour_minute")]

    def __str__(self) -> str:
        return f"{self.tenant} at {self.at:%Y-%m-%d %H}:00"


class JournalState(models.Model):
    """What a journal's worker last said of it; `unsettled` is counted by the journal and not by the ledger."""

    journal = models.CharField(max_length=36, unique=True)
    node = models.CharField(max_length=255)
    pid = models.BigIntegerField(default=0)
    unsettled = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField()
    is_closed = models.BooleanField(default=False, help_text="Its worker ended by itself; the next one adopts it.")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="All of it is settled and counted.")
    given_up_by = models.CharField(max_length=150, blank=True)
    give_up_reason = models.CharField(max_length=500, blank=True)
    # Accounts before the first are told no more; those before the second went into the hours and must not come back.
    oldest_minute = models.BigIntegerField(default=0)
    rolled_up_to_minute = models.BigIntegerField(default=0)

    class Meta:
        ordering = ("-seen_at",)
        verbose_name = "journal"
        indexes = [models.Index(fields=["finished_at"], name="ingest_journal_finished")]

    def __str__(self) -> str:
        return self.journal
