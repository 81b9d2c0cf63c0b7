"""The console on a platform with a past: as many queries a page as on a small one, and none reads a whole table."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from pytest_django import DjangoDbBlocker
from redis import Redis

from bench.console_rows import Size, fill_database, tell_redis

SMALL = Size(30, 60, 60, 600, 70, 40, 60, 30)
BIG = Size(20_000, 20_000, 20_000, 20_000, 1_440, 2_000, 20_000, 30)
# Tables that grow with tenants, traffic or time, and are read by index alone.
GROWING = frozenset(
    {
        "ingest_deadletter",
        "ingest_ledgerhour",
        "ingest_ledgerminute",
        "ingest_platformminute",
        "ingest_quarantinedevent",
        "tenants_apikey",
        "tenants_auditentry",
        "tenants_tenant",
    }
)
LETTERS, AUDIT, MINUTES = "/admin/ingest/deadletter/", "/admin/tenants/auditentry/", "/admin/ingest/ledgerminute/"
PAGES = [
    *("/admin/", "/admin/overview/live/", "/admin/overview/charts/?span=day"),
    *("/admin/breakers/", "/admin/breakers/live/", "/admin/topics/topic-1/", "/admin/journals/"),
    *("/admin/rules/", "/admin/rules/versions/"),
    *("/admin/ingest/incident/", "/admin/ingest/bulkreplay/", "/admin/ingest/quarantinedevent/"),
    *(LETTERS, f"{LETTERS}?status=open", f"{LETTERS}?tenant=tenant-1", f"{LETTERS}?topic=topic-2&status=exhausted"),
    *(f"{LETTERS}?text=order", "/admin/ingest/quarantinedevent/?tenant=tenant-1"),
    *(MINUTES, f"{MINUTES}?q=tenant-7", "/admin/ingest/ledgerhour/", "/admin/ingest/journalstate/"),
    *("/admin/senders/", "/admin/senders/tenant-1/", "/admin/senders/tenant-1/live/", "/admin/senders/?q=tenant-2"),
    *("/admin/tenants/apikey/", "/admin/tenants/plan/", "/admin/tenants/tenant/1/change/"),
    *(AUDIT, f"{AUDIT}?by=person-3"),
]


class Platform(NamedTuple):
    """Where it is; Django's usual database must have been set up, for that is the server it is on."""

    postgres_url: str
    template: str
    redis_url: str


# All ten thousand tenants are read where they are counted by plan, and where a part of their names is looked for.
READ_WHOLE = {"/admin/tenants/plan/": {"tenants_tenant"}, "/admin/senders/?q=tenant-2": {"tenants_tenant"}}


@contextmanager
def filled(size: Size, at: Platform) -> Iterator[Client]:
    """A database of its own that is not rolled back, for only what is vacuumed is planned as it will be; and a Redis
    with as much in it."""
    name = f"scale_{uuid4().hex[:12]}"
    with (
        psycopg.connect(at.postgres_url, autocommit=True) as server,
        Redis.from_url(at.redis_url) as redis,
        override_settings(FOREBAY_REDIS_URL=at.redis_url),
    ):
        redis.flushdb()
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{at.template}"')
        connection.close()
        usual, connection.settings_dict["NAME"] = connection.settings_dict["NAME"], name
        try:
            fill_database(size)
            tell_redis(size)
            client = Client()
            client.force_login(User.objects.create_superuser("operator"))
            yield client
        finally:
            connection.close()
            connection.settings_dict["NAME"] = usual
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def platform(django_db_setup: None, postgres_url: str, migrated_database: str, redis_url: str) -> Platform:
    return Platform(postgres_url, migrated_database, redis_url)


@pytest.fixture(scope="module")
def few(platform: Platform, django_db_blocker: DjangoDbBlocker) -> dict[str, int]:
    """Queries of each page on the small platform."""
    with django_db_blocker.unblock(), filled(SMALL, platform) as client:
        return {path: len(queries_of(client, path)) for path in PAGES}


@pytest.fixture(scope="module")
def big(few: dict[str, int], platform: Platform, django_db_blocker: DjangoDbBlocker) -> Iterator[Client]:
    """Somebody who may see everything of the big platform."""
    with django_db_blocker.unblock(), filled(BIG, platform) as client:
        yield client


def queries_of(client: Client, path: str) -> list[str]:
    client.get(path)  # what is kept for the life of the process, such as content types
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200, path
    return [query["sql"] for query in captured.captured_queries]


def read_whole(sql: str) -> list[str]:
    """The growing tables that PostgreSQL would read from end to end for this."""
    if not sql.startswith("SELECT"):
        return []
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql.replace("%", "%%"), [])
        (told,) = cursor.fetchone()
    plan = (json.loads(told) if isinstance(told, str) else told)[0]["Plan"]
    scans = [node for node in _nodes(plan) if node["Node Type"] == "Seq Scan"]
    return [scan["Relation Name"] for scan in scans if scan["Relation Name"] in GROWING]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_as_many_queries_on_a_big_platform_and_reads_by_index(
    path: str, big: Client, few: dict[str, int]
) -> None:
    queries = queries_of(big, path)

    assert len(queries) <= few[path]
    allowed = READ_WHOLE.get(path, set())
    assert {sql: tables for sql in queries if (tables := set(read_whole(sql)) - allowed)} == {}
