import django.core.validators
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("ingest", "0004_ledger"),
    ]

    operations = [
        migrations.CreateModel(
            name="Override",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("FORCED_OPEN", "Force open: send nothing until it is reset"),
                            ("DISABLED", "Disable: send whatever fails, until it is reset"),
                            ("RESET", "Reset: closed, and on its own again"),
                            ("PARKED", "Park: a tenant's events for a topic wait"),
                            ("RESUMED", "Resume: a tenant's events for a topic go out again"),
                        ],
                        max_length=11,
                    ),
                ),
                (
                    "topic",
                    models.CharField(
                        blank=True,
                        help_text="Empty: the breaker of the whole cluster.",
                        max_length=249,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[a-zA-Z0-9._-]+\\Z", "Kafka allows letters, digits, dot, underscore and hyphen."
                            )
                        ],
                    ),
                ),
                (
                    "tenant",
                    models.CharField(
                        blank=True, help_text="To park or resume; breakers know no tenants.", max_length=63
                    ),
                ),
                ("by", models.CharField(max_length=150, verbose_name="who")),
                ("reason", models.CharField(max_length=500, verbose_name="why")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="when")),
            ],
            options={
                "ordering": ("-pk",),
                "indexes": [models.Index(fields=["tenant", "topic", "-id"], name="override_newest_by_place")],
            },
        ),
    ]
