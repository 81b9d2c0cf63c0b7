"""Control plane: the tables, the plans `standard` and `agent`, and the first version."""

import time

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


MIB, GIB = 1 << 20, 1 << 30


def make_first_rows(apps, schema_editor):
    Plan = apps.get_model("tenants", "Plan")
    # For an application that logs: two full requests of 10,000 events at once, 5,000 events/s for long.
    Plan.objects.create(
        name="standard",
        events_per_s=5_000,
        burst_events=20_000,
        bytes_per_s=5 * MIB,
        burst_bytes=20 * MIB,
        events_per_day=100_000_000,
        requests_per_s_per_address=100,
    )
    # For agents that collect for many: one address sends everything, so the limit per address is off.
    Plan.objects.create(
        name="agent", events_per_s=1_000_000, burst_events=1_000_000, bytes_per_s=GIB, burst_bytes=GIB
    )
    # The wall clock: a recreated database starts above every snapshot of its predecessor.
    apps.get_model("tenants", "ControlPlaneVersion").objects.create(pk=1, version=time.time_ns() // 1_000_000)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='ControlPlaneVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('events_per_s', models.PositiveBigIntegerField(default=0, help_text='0: no limit.', verbose_name='events/s')),
                ('burst_events', models.PositiveBigIntegerField(default=0, help_text='Largest batch, and what may come at once after a quiet time. 0: as many as events/s.')),
                ('bytes_per_s', models.PositiveBigIntegerField(default=0, help_text='After decompression. 0: no limit.', verbose_name='bytes/s')),
                ('burst_bytes', models.PositiveBigIntegerField(default=0, help_text='0: as many as bytes/s.')),
                ('events_per_day', models.PositiveBigIntegerField(default=0, help_text='Per UTC day. 0: no limit.', verbose_name='events/day')),
                ('name', models.SlugField(max_length=63, unique=True)),
                ('requests_per_s_per_address', models.PositiveBigIntegerField(default=0, help_text='0: no limit.', verbose_name='requests/s per client address')),
            ],
            options={
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Written into every record, so it never changes: 1 to 63 of a-z, 0-9 and -.', max_length=63, unique=True, validators=[django.core.validators.RegexValidator('\\A[a-z0-9-]{1,63}\\Z', 'Use 1 to 63 of a-z, 0-9 and -.')])),
                ('display_name', models.CharField(blank=True, max_length=200)),
                ('status', models.CharField(choices=[('ACTIVE', 'Active'), ('SUSPENDED', 'Suspended')], default='ACTIVE', max_length=9)),
                ('default_delivery', models.CharField(choices=[('async', 'async: answered from the journal'), ('ack', 'ack: waits for Kafka')], default='async', help_text='Where neither the request nor a routing rule says it.', max_length=5)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tenants', to='tenants.plan')),
            ],
            options={
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('events_per_s', models.PositiveBigIntegerField(default=0, help_text='0: no limit.', verbose_name='events/s')),
                ('burst_events', models.PositiveBigIntegerField(default=0, help_text='Largest batch, and what may come at once after a quiet time. 0: as many as events/s.')),
                ('bytes_per_s', models.PositiveBigIntegerField(default=0, help_text='After decompression. 0: no limit.', verbose_name='bytes/s')),
                ('burst_bytes', models.PositiveBigIntegerField(default=0, help_text='0: as many as bytes/s.')),
                ('events_per_day', models.PositiveBigIntegerField(default=0, help_text='Per UTC day. 0: no limit.', verbose_name='events/day')),
                ('name', models.CharField(help_text='What uses it, such as web-frontend.', max_length=100)),
                ('prefix', models.CharField(editable=False, max_length=8, unique=True)),
                ('digest', models.BinaryField(max_length=32, unique=True)),
                ('scopes', models.JSONField(default=list)),
                ('allowed_networks', models.JSONField(blank=True, default=list)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('replaces', models.OneToOneField(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='successor', to='tenants.apikey')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='tenants.tenant')),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ('-created_at',),
            },
        ),
        migrations.RunPython(make_first_rows, migrations.RunPython.noop),
    ]
