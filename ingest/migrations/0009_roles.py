"""The console's roles. Django makes permissions only after all migrations, so they are made here before they are given."""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

from ingest.roles import ROLES, roles_apply


def make(apps, schema_editor):
    for name in ("auth", "tenants", "ingest"):
        create_permissions(installed.get_app_config(name), verbosity=0, apps=apps, using=schema_editor.connection.alias)
    roles_apply(apps.get_model("auth", "Group").objects, apps.get_model("auth", "Permission").objects)


def unmake(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0008_console"),
        ("tenants", "0003_console"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make, unmake)]
