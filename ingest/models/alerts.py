"""Control plane: incidents, and what was told of each to whom. Written by the alerts' task, read by the console.

A notification is a row before it is a message: it is made in the transaction that opens or ends the incident, and sent
until somebody has it. So a message is neither forgotten by a crash nor sent by two evaluations.
"""

from django.db import models


class Incident(models.Model):
    """Something that is not as it should be, from when it was first seen until it has stayed away."""

    class Severity(models.TextChoices):
        PAGE = "page", "page: wakes somebody"
        TICKET = "ticket", "ticket: can wait for the morning"

    kind = models.CharField(max_length=40, help_text="Its section in the runbook has the same name.")
    subject = models.CharField(max_length=400, help_text="What it is about: a worker, a node, a topic, a tenant.")
    severity = models.CharField(max_length=10, choices=Severity)
    value = models.CharField(max_length=500, help_text="What was seen last, in words.")
    opened_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(help_text="When the condition was last seen to hold.")
    clear_since = models.DateTimeField(null=True, blank=True, help_text="Since when it has been seen not to hold.")
    ended_at = models.DateTimeField(null=True, blank=True, db_index=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-opened_at",)
        constraints = [
            models.UniqueConstraint(
                fields=("kind", "subject"), condition=models.Q(ended_at=None), name="one_open_incident_of_a_subject"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.subject}"


class Notification(models.Model):
    """One message about an incident on one channel."""

    class Channel(models.TextChoices):
        WEBHOOK = "webhook", "webhook"
        EMAIL = "email", "e-mail"

    class Event(models.TextChoices):
        OPENED = "opened", "opened"
        ENDED = "ended", "ended"

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="notifications")
    channel = models.CharField(max_length=10, choices=Channel)
    event = models.CharField(max_length=10, choices=Event)
    next_attempt_at = models.DateTimeField(help_text="When it is tried next; moved ahead by whoever tries it now.")
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=("incident", "channel", "event"), name="one_notification_of_an_incident_event_and_channel"
            )
        ]
        indexes = [models.Index(fields=("sent_at", "next_attempt_at"), name="notification_due")]

    def __str__(self) -> str:
        return f"{self.incident} {self.event} by {self.channel}"
