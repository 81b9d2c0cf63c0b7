"""A platform with a past, in PostgreSQL: rows by the hundred thousand, which the database makes itself.

The benchmark of the console fills a database with them; the tests of its queries take fewer of the same.
"""

import time
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import DateTimeField, Field, Model

from ingest.heartbeats import Heartbeat
from ingest.models import (
    BreakerTransition,
    BulkReplay,
    DeadLetter,
    Incident,
    JournalState,
    LedgerHour,
    LedgerMinute,
    PlatformMinute,
    QuarantinedEvent,
    RoutingRule,
    RuleSet,
)
from ingest.parked import ParkedEntry, publish_parked
from ingest.shared_redis import shared_redis
from ingest.tenant_minutes import tenant_minutes_add
from tenants.models import ApiKey, AuditEntry, Plan, Tenant


class Size(NamedTuple):
    """How many of each."""

    tenants: int
    letters: int
    audit_entries: int
    ledger_minutes: int
    platform_minutes: int
    incidents: int
    quarantined: int
    rules: int


LARGE = Size(10_000, 100_000, 100_000, 500_000, 1_440, 2_000, 50_000, 200)


def fill_database(size: Size) -> None:
    """Takes a minute for LARGE, most of it for the indexes; not in a transaction, for what is filled is vacuumed."""
    plan = Plan.objects.order_by("pk").values_list("pk", flat=True)[0]
    fill(Tenant, size.tenants, name="'tenant-' || n", display_name="'Tenant number ' || n", plan=f"{plan}")
    # Its first tenant is the one whose page is measured: it has many keys and most of the trouble.
    fill(
        ApiKey,
        size.tenants,
        tenant="(SELECT id FROM tenants_tenant WHERE name = 'tenant-' || CASE WHEN n <= 20 THEN 1 ELSE n END)",
        name="'key ' || n",
        prefix="lpad(n::text, 8, '0')",
        digest="sha256(n::text::bytea)",
        scopes="""'["ingest"]'::jsonb""",
    )
    fill(
        AuditEntry,
        size.audit_entries,
        at="now() - n * interval '1 minute'",
        by="'person-' || mod(n, 40)",
        action="(ARRAY['tenant.create', 'key.issue', 'key.revoke', 'rules.publish', 'plan.set'])[1 + mod(n, 5)]",
        target="'tenant-' || mod(n, 5000)",
        after="""jsonb_build_object('plan', 'standard', 'n', n)""",
    )
    _fill_events(size)
    _fill_history(size)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _fill_events(size: Size) -> None:
    # Three causes have nearly all of them, as after any real trouble, and fifty the rest.
    cause = "CASE WHEN mod(n, 10) < 9 THEN mod(n, 3) ELSE mod(n, 50) END"
    fill(
        DeadLetter,
        size.letters,
        journal="'journal-' || mod(n, 4)",
        sequence="n",
        tenant=f"'tenant-' || 1 + mod(n, least(200, {size.tenants}))",
        event_id="'event-' || n",
        rule_name="'rule-' || mod(n, 20)",
        topic=f"'topic-' || {cause}",
        value="""('{"source":"shop","level":"INFO","message":"event ' || n || '"}')::bytea""",
        text="'shop event ' || n || ' of order ' || mod(n, 997)",
        size_bytes="60",
        fault=f"(ARRAY['record', 'topic', 'cluster'])[1 + mod({cause}, 3)]",
        code=f"'CODE_' || {cause}",
        accepted_at="now() - n * interval '10 seconds'",
        dead_at="now() - n * interval '10 seconds'",
        retry_since="now() - n * interval '10 seconds'",
        status="(ARRAY['exhausted', 'exhausted', 'waiting', 'replayed', 'discarded'])[1 + mod(n, 5)]",
        next_attempt_at="CASE WHEN mod(n, 5) = 2 THEN now() + n * interval '1 second' END",
    )
    fill(
        QuarantinedEvent,
        size.quarantined,
        tenant="'tenant-' || mod(n, 200)",
        key_id="n",
        received_at="now() - n * interval '1 second'",
        dialect="'native'",
        correlation_id="'correlation-' || n",
        index="0",
        code="(ARRAY['unknown_level', 'missing_field', 'invalid_timestamp'])[1 + mod(n, 3)]",
        size_bytes="100",
        text="'what somebody sent ' || n",
    )
    fill(BulkReplay, 500, created_by="'person-1'", status="'done'", reason="'a test'", criteria="'{}'::jsonb")


def _fill_history(size: Size) -> None:
    minute = "(extract(epoch FROM now())::bigint / 60)"
    counts = {"received": "100", "journaled": "98", "delivered": "97", "pending": "(mod(n, 9999) = 0)::int"}
    ledger = {"tenant": "'tenant-' || 1 + mod(n, 500)", **counts}
    fill(LedgerMinute, size.ledger_minutes, journal="'journal-' || mod(n, 4)", minute=f"{minute} - n / 500", **ledger)
    fill(LedgerHour, size.ledger_minutes // 10, minute=f"{minute} / 60 * 60 - n / 500 * 60", **ledger)
    missing = "now() - interval '1 hour'"
    fill(JournalState, 200, journal="'journal-' || n", node="'node-' || mod(n, 20)", seen_at=missing)
    fill(
        PlatformMinute,
        size.platform_minutes,
        at="date_trunc('minute', now()) - n * interval '1 minute'",
        workers="4",
        accepted_events="60000 + 100 * mod(n, 60)",
        delivered_events="60000",
        produce_p99_ms="20 + mod(n, 10)",
    )
    fill(
        BreakerTransition,
        2_000,
        stream_id="n || '-0'",
        topic="CASE WHEN mod(n, 3) = 0 THEN '' ELSE 'topic-' || mod(n, 50) END",
        old="'CLOSED'",
        new="'OPEN'",
        at="now() - n * interval '1 minute'",
    )
    fill(
        Incident,
        size.incidents,
        kind="'topic_parked'",
        subject="'topic-' || n || ' of tenant-1'",
        severity="'ticket'",
        value="'5 events wait'",
        opened_at="now() - n * interval '1 hour'",
        last_seen_at="now()",
        ended_at="CASE WHEN n > 30 THEN now() - n * interval '59 minutes' END",
    )
    fill(
        RoutingRule,
        size.rules,
        name="'rule-' || n",
        position="n * 10",
        source_glob="'service-' || n || '-*'",
        topic="'topic-' || mod(n, 50)",
        levels="'[]'::jsonb",
        key="""'["source"]'::jsonb""",
    )
    fill(RuleSet, 100, number="n", rules="'[]'::jsonb", by="'person-1'", at="now() - n * interval '1 day'")


def tell_redis(size: Size) -> None:
    """What workers would have told: four of them, a thousand tenants that are limited, fifty parked topics."""
    now_s = time.time()
    with shared_redis() as client:
        for pid in range(1, 5):
            told = {"accepted_last_minute_events": 60_000, "journal_max_bytes": 2 << 30, "version": "0.1.0"}
            Heartbeat(client, "node-1", pid, now_s - 3_600).beat(told, now_s + 3_600)
        for seconds in (0, 60):
            pipe = client.pipeline(transaction=False)
            events = {f"tenant-{n}": 10 * n for n in range(1, size.tenants + 1)}
            limited = {(f"tenant-{n}", "tenant events_per_s"): n for n in range(1, size.tenants // 10)}
            tenant_minutes_add(pipe, events, limited, now_s - seconds)
            pipe.execute()
        parked = [
            ParkedEntry(tenant="tenant-1", topic=f"topic-{n}", code="denied", detail="", since_wall_ms=n, pending=n)
            for n in range(1, 51)
        ]
        publish_parked(client, "node-1/1", parked)


def fill(model: type[Model], count: int, **expressions: str) -> None:
    """So many rows, numbered by `n` from 1; a field without an expression gets its default."""
    columns, values, parameters = [], [], []
    for field in model._meta.concrete_fields:
        value = expressions.pop(field.name, None)
        if value is None and not field.primary_key:
            value, given = _default(field)
            parameters += given
        if value is not None:
            columns.append(connection.ops.quote_name(str(field.column)))
            values.append(value)
    if expressions:
        raise ValueError(f"{model.__name__} has no {', '.join(expressions)}")
    table = connection.ops.quote_name(model._meta.db_table)
    names, selected = ", ".join(columns), ", ".join(values)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {selected} FROM generate_series(1, %s) AS n",  # noqa: S608 - of this file
            [*parameters, count],
        )


def _default(field: "Field[Any, Any]") -> tuple[str, list[Any]]:
    """Its value as an expression, with the parameters of that."""
    if isinstance(field, DateTimeField) and not field.null:
        return "now()", []
    return "%s", [field.get_db_prep_save(field.get_default(), connection)]
