"""Control plane: events that were accepted and that Kafka would not take, and what has been tried with each.

This table is the truth (ADR 0005): Celery's messages only hint that there is something to do. The workers' writer
thread inserts, the Celery sweep and the operators change, no request of the event path reads it.
"""

import json
from typing import Any

from django.db import models
from django.db.models import Q

from ingest.dataplane.faults import Fault

DETAIL_CHARACTERS = 500


class LetterStatus(models.TextChoices):
    WAITING = "waiting", "waiting: it is sent again by itself"
    EXHAUSTED = "exhausted", "exhausted: it needs an operator"
    REPLAYED = "replayed", "replayed: Kafka has it"
    DISCARDED = "discarded", "discarded: given up"


class ReplayRoute(models.TextChoices):
    PINNED = "pinned", "pinned: to the topic, partition and key it had"
    RULES = "rules", "rules: wherever today's routing rules send it"


class AttemptResult(models.TextChoices):
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "failed"
    UNKNOWN = "unknown", "unknown: nobody heard what became of it"
    EDITED = "edited", "edited"


class BulkStatus(models.TextChoices):
    PLANNED = "planned", "planned"
    RUNNING = "running", "running"
    PAUSED = "paused", "paused"
    DONE = "done", "done"
    CANCELLED = "cancelled", "cancelled"


class BulkReplay(models.Model):
    """Many letters sent again at the replay's own rate. The sweep moves it on, so whoever dies, another goes on.

    Letters are enlisted in the order of their ids, a few at a time; `enlisted_to_id` is how far that has come without a
    gap, and `last_id` the newest letter there was when it was planned."""

    criteria = models.JSONField(default=dict, help_text="Which letters, as the list's filters say it.")
    status = models.CharField(max_length=9, choices=BulkStatus, default=BulkStatus.PLANNED)
    route = models.CharField(max_length=6, choices=ReplayRoute, default=ReplayRoute.RULES)
    charges_quota = models.BooleanField(default=False, help_text="Takes each event from its tenant's quota as if sent.")
    reason = models.CharField(max_length=500)
    planned_events = models.PositiveBigIntegerField(default=0)
    enlisted_events = models.PositiveBigIntegerField(default=0)
    enlisted_to_id = models.BigIntegerField(default=0)
    last_id = models.BigIntegerField(default=0)
    form_token = models.UUIDField(unique=True, null=True, editable=False, help_text="Plans once.")
    created_by = models.CharField(max_length=150)
    last_changed_by = models.CharField(max_length=150, blank=True, help_text="Who started or stopped it last.")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        indexes = [models.Index(fields=["status"], name="ingest_bulk_status")]

    def __str__(self) -> str:
        return f"bulk replay {self.pk}"


class DeadLetter(models.Model):
    """One accepted event that could not be delivered.

    `sequence` is the record's own number in its journal; both together are what it is known by, so a worker that offers
    it again changes nothing."""

    journal = models.CharField(max_length=36, editable=False)
    sequence = models.BigIntegerField(editable=False)
    tenant = models.CharField(max_length=63)
    event_id = models.CharField(max_length=128)
    rule_id = models.BigIntegerField("rule", default=0, help_text="0: the built-in default.")
    rule_name = models.CharField(max_length=63, blank=True)
    policy_version = models.BigIntegerField(default=0)
    topic = models.CharField(max_length=249)
    partition = models.IntegerField(default=-1, help_text="-1: the producer's choice, by key.")
    key = models.BinaryField(default=bytes)
    value = models.BinaryField()
    original_value = models.BinaryField(null=True, help_text="As it was accepted; only where it was edited.")
    text = models.TextField(blank=True, help_text="Source, message and stack trace in short, to search and to list.")
    headers = models.JSONField(default=list, blank=True)
    size_bytes = models.PositiveIntegerField(default=0)
    fault = models.CharField("fault of", max_length=7, choices=[(fault.value, fault.value) for fault in Fault])
    code = models.CharField(max_length=64)
    detail = models.CharField(max_length=DETAIL_CHARACTERS, blank=True)
    accepted_at = models.DateTimeField()
    dead_at = models.DateTimeField()

    status = models.CharField(max_length=9, choices=LetterStatus, default=LetterStatus.WAITING)
    attempts_made = models.PositiveIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0, help_text="Attempts since it died or an operator asked.")
    retry_since = models.DateTimeField(help_text="What the age limit counts from.")
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    route = models.CharField(max_length=6, choices=ReplayRoute, default=ReplayRoute.PINNED)
    requested_by = models.CharField(max_length=150, blank=True)
    bulk = models.ForeignKey(BulkReplay, null=True, blank=True, on_delete=models.SET_NULL, related_name="letters")
    own_attempt_at = models.DateTimeField(
        null=True, blank=True, help_text="When it would be sent again by itself, while a bulk replay has it."
    )
    claimed_by = models.CharField(max_length=64, blank=True, default="")
    claimed_until = models.DateTimeField(null=True, blank=True)
    unconfirmed = models.PositiveIntegerField(
        default=0, help_text="Times it was sent and nobody heard what became of it: so many copies Kafka may have."
    )

    replayed_topic = models.CharField(max_length=249, blank=True)
    replayed_partition = models.IntegerField(null=True, blank=True)
    replayed_offset = models.BigIntegerField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)
    end_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-pk",)
        constraints = [models.UniqueConstraint(fields=["journal", "sequence"], name="ingest_letter_once")]
        # Each filter with the list's own order behind it, so that a page needs no sort. Migration 0011 adds one over
        # the words of `text`, which only PostgreSQL has.
        indexes = [
            *(
                models.Index(fields=[name, "-id"], name=f"ingest_letter_{name}")
                for name in ("tenant", "topic", "rule_name", "fault", "code", "status")
            ),
            # Counts by cause are read from this alone.
            models.Index(fields=["status", "fault", "code", "topic", "dead_at"], name="ingest_letter_causes"),
            models.Index(fields=["bulk", "status"], condition=Q(bulk__isnull=False), name="ingest_letter_bulks"),
            models.Index(fields=["event_id"], name="ingest_letter_event"),
            models.Index(fields=["accepted_at"], name="ingest_letter_accepted"),
            models.Index(fields=["dead_at"], name="ingest_letter_dead"),
            models.Index(fields=["status", "ended_at"], name="ingest_letter_ended"),
            models.Index(fields=["next_attempt_at", "id"], condition=Q(status="waiting"), name="ingest_letter_due"),
            models.Index(
                fields=["tenant", "next_attempt_at", "id"],
                condition=Q(status="waiting"),
                name="ingest_letter_due_tenant",
            ),
            models.Index(
                fields=["tenant", "next_attempt_at", "id"],
                condition=Q(status="waiting") & ~Q(requested_by=""),
                name="ingest_letter_due_asked",
            ),
            models.Index(
                fields=["claimed_until"], condition=Q(claimed_until__isnull=False), name="ingest_letter_claims"
            ),
        ]

    def __str__(self) -> str:
        return f"dead letter {self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether anything can still become of it."""
        return self.status in (LetterStatus.WAITING, LetterStatus.EXHAUSTED)

    @property
    def replay_route(self) -> str:
        """Its own, or that of the bulk replay that has it now."""
        return self.bulk.route if self.bulk else self.route

    @property
    def asked_by(self) -> str:
        """Who wants it sent again; empty: nobody but the retries."""
        return f"{self.bulk.created_by}, {self.bulk}"[:150] if self.bulk else self.requested_by

    @property
    def document(self) -> Any:
        """The event as JSON says it; None where the value is no JSON."""
        return document_of(self.value)

    @property
    def original_document(self) -> Any:
        """The event as it was accepted, where it was edited."""
        return document_of(self.original_value) if self.original_value is not None else None


class DeadLetterAttempt(models.Model):
    """One time that somebody tried to deliver it, or changed it; with what came of it."""

    letter = models.ForeignKey(DeadLetter, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField()
    result = models.CharField(max_length=9, choices=AttemptResult)
    code = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=DETAIL_CHARACTERS, blank=True)
    by = models.CharField(max_length=150)

    class Meta:
        ordering = ("at", "pk")

    def __str__(self) -> str:
        return f"{self.result} at {self.at:%Y-%m-%d %H:%M:%S}"


def document_of(value: Any) -> Any:
    """What JSON says; None where it is none."""
    try:
        return json.loads(bytes(value))
    except ValueError:
        return None
