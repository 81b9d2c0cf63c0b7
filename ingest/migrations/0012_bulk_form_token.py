"""A form that is sent twice plans one bulk replay."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ingest", "0011_letter_text")]
    operations = [
        migrations.AddField(
            "bulkreplay",
            "form_token",
            models.UUIDField(editable=False, help_text="Plans once.", null=True, unique=True),
        )
    ]
