"""Dead letters can be searched by the words of their events, and counted by cause and by bulk replay from an index.

The list of rejected events gets an index for each of its filters, too.
"""

from django.db import migrations, models

from ingest.dead_letters.searching import SEARCHED, text_of

INDEX = "ingest_letter_words"
# Each may hold an event of a MiB.
LETTERS_AT_ONCE = 50


def fill(apps, schema_editor):
    """Those that died before there was a text."""
    letters = apps.get_model("ingest", "DeadLetter").objects.using(schema_editor.connection.alias)
    last_id = 0
    while True:
        some = list(letters.filter(pk__gt=last_id).order_by("pk").only("pk", "value")[:LETTERS_AT_ONCE])
        if not some:
            return
        for letter in some:
            letter.text = text_of(bytes(letter.value))
        letters.bulk_update(some, ["text"])
        last_id = some[-1].pk


def make_index(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        searched = SEARCHED % {"expressions": "text"}
        schema_editor.execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON ingest_deadletter USING gin (({searched}))")


def drop_index(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP INDEX IF EXISTS {INDEX}")


class Migration(migrations.Migration):
    # A long table is filled a few rows at a time, and workers go on writing to it.
    atomic = False
    dependencies = [("ingest", "0010_rule_sets")]
    operations = [
        migrations.AddIndex(
            "deadletter", models.Index(fields=["rule_name", "-id"], name="ingest_letter_rule_name")
        ),
        migrations.RemoveIndex("deadletter", "ingest_letter_rule_id"),
        migrations.AddIndex(
            "deadletter",
            models.Index(fields=["status", "fault", "code", "topic", "dead_at"], name="ingest_letter_causes"),
        ),
        migrations.AddIndex(
            "deadletter",
            models.Index(
                fields=["bulk", "status"], condition=models.Q(("bulk__isnull", False)), name="ingest_letter_bulks"
            ),
        ),
        migrations.AddIndex(
            "quarantinedevent", models.Index(fields=["tenant", "-id"], name="quarantine_list_by_tenant")
        ),
        migrations.AddIndex("quarantinedevent", models.Index(fields=["code", "-id"], name="quarantine_list_by_code")),
        migrations.AddIndex(
            "quarantinedevent", models.Index(fields=["correlation_id"], name="quarantine_by_correlation")
        ),
        migrations.AddIndex(
            "quarantinedevent",
            models.Index(
                fields=["sha256"], condition=models.Q(("sha256", ""), _negated=True), name="quarantine_by_sha256"
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(make_index, drop_index),
    ]
