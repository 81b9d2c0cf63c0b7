"""Control plane: how the platform as a whole did, for the console's charts: a row a minute, and one for each move of a
breaker. Written by Celery's tasks from what the workers say in Redis; no request of the event path reads it.
"""

from django.db import models


class PlatformMinute(models.Model):
    """All workers together over one minute. A latency is null while too little was acknowledged to tell."""

    at = models.DateTimeField(unique=True, help_text="When the minute ended.")
    workers = models.PositiveIntegerField(default=0, help_text="Those that were heard.")
    accepted_events = models.PositiveBigIntegerField(default=0)
    rejected_events = models.PositiveBigIntegerField(default=0)
    delivered_events = models.PositiveBigIntegerField(default=0)
    delivery_errors = models.PositiveBigIntegerField(default=0)
    throttled_requests = models.PositiveBigIntegerField(default=0)
    produce_p50_ms = models.FloatField(null=True)
    produce_p95_ms = models.FloatField(null=True)
    produce_p99_ms = models.FloatField(null=True)
    queue_ratio = models.FloatField(default=0, help_text="Of the fullest queue.")
    journal_ratio = models.FloatField(default=0, help_text="Of the fullest journal.")
    pending_events = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}"


class BreakerTransition(models.Model):
    """One move of a breaker, copied from the workers' stream in Redis, which keeps only the last thousand."""

    stream_id = models.CharField(max_length=40, unique=True, help_text="Its number in the stream.")
    topic = models.CharField(max_length=249, blank=True, help_text="Empty: the cluster's.")
    old = models.CharField(max_length=11)
    new = models.CharField(max_length=11)
    at = models.DateTimeField(db_index=True)
    cause = models.CharField(max_length=500, blank=True)
    by = models.CharField(max_length=150, blank=True, help_text="An operator; empty where the workers moved it.")
    worker = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ("-at", "-pk")
        indexes = [models.Index(fields=("topic", "-at"), name="breaker_moves_by_topic")]

    def __str__(self) -> str:
        return f"{self.topic or 'the cluster'}: {self.old} to {self.new}"
