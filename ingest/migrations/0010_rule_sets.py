"""The rules that were live until now go on as version 1: a draft that nobody has published routes nothing."""

from django.db import migrations

_FIELDS = (
    "name",
    "enabled",
    "source_glob",
    "levels",
    "metadata_field",
    "metadata_glob",
    "topic",
    "partitioning",
    "key",
    "delivery",
    "keep_ratio",
    "drop_reason",
)


def publish(apps, schema_editor):
    rules = apps.get_model("ingest", "RoutingRule").objects.order_by("position", "pk").prefetch_related("tenants")
    facts = [
        {
            "id": rule.pk,
            **{field: getattr(rule, field) for field in _FIELDS},
            "tenants": sorted(tenant.name for tenant in rule.tenants.all()),
        }
        for rule in rules
    ]
    rule_sets = apps.get_model("ingest", "RuleSet").objects
    if facts and not rule_sets.exists():
        rule_sets.create(number=1, rules=facts, by="upgrade", reason="What was live before rules had versions")


class Migration(migrations.Migration):
    dependencies = [("ingest", "0009_roles")]
    operations = [migrations.RunPython(publish, migrations.RunPython.noop)]
