"""The last use of keys on its way from the event path's Redis hash into the table, over a real Redis."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.db import connection
from pytest_django import Settings

from tenants import services
from tenants.api_keys import LAST_USED_HASH
from tenants.models import ApiKey, ControlPlaneVersion, Plan, Tenant
from tenants.tasks import record_key_use

pytestmark = pytest.mark.django_db
WALL_S = int(time.time()) - 3_600


@pytest.fixture
def uses(redis_url: str, settings: Settings) -> Iterator[redis.Redis]:
    """What the workers write to: an empty hash in the Redis that the task reads."""
    settings.FOREBAY_REDIS_URL = redis_url
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    client.delete(LAST_USED_HASH)
    yield client
    client.delete(LAST_USED_HASH)
    client.close()


@pytest.fixture
def acme() -> Tenant:
    Plan.objects.get_or_create(name="standard")
    return services.tenant_create(name="acme", by="tests")


def issue(tenant: Tenant) -> ApiKey:
    return services.key_issue(tenant=tenant, name="web", by="tests")[0]


def last_used_s(key: ApiKey) -> float | None:
    key.refresh_from_db()
    return key.last_used_at.timestamp() if key.last_used_at else None


def test_a_use_moves_into_the_table_and_out_of_redis_without_moving_the_version(
    uses: redis.Redis, acme: Tenant
) -> None:
    used, idle = issue(acme), issue(acme)
    uses.hset(LAST_USED_HASH, str(used.pk), WALL_S)
    before = ControlPlaneVersion.current()

    moved = record_key_use()

    assert moved == 1
    assert (last_used_s(used), last_used_s(idle)) == (WALL_S, None)
    assert not uses.exists(LAST_USED_HASH)
    assert ControlPlaneVersion.current() == before


def test_a_worker_that_lags_does_not_set_the_time_back(uses: redis.Redis, acme: Tenant) -> None:
    key = issue(acme)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=datetime.fromtimestamp(WALL_S, UTC))
    uses.hset(LAST_USED_HASH, str(key.pk), WALL_S - 60)

    moved = record_key_use()

    assert moved == 0
    assert last_used_s(key) == WALL_S
    assert not uses.exists(LAST_USED_HASH)


def test_a_use_written_while_the_task_runs_is_kept_for_the_next_run(uses: redis.Redis, acme: Tenant) -> None:
    key, other = issue(acme), issue(acme)
    uses.hset(LAST_USED_HASH, mapping={str(key.pk): WALL_S, str(other.pk): WALL_S})

    def a_worker_writes_meanwhile(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            uses.hset(LAST_USED_HASH, str(key.pk), WALL_S + 60)
        return execute(sql, *rest)

    with connection.execute_wrapper(a_worker_writes_meanwhile):
        record_key_use()

    assert (last_used_s(key), last_used_s(other)) == (WALL_S, WALL_S)
    assert uses.hgetall(LAST_USED_HASH) == {str(key.pk): str(WALL_S + 60)}
    assert record_key_use() == 1
    assert last_used_s(key) == WALL_S + 60


def test_a_worker_whose_clock_runs_ahead_cannot_freeze_the_time(uses: redis.Redis, acme: Tenant) -> None:
    key = issue(acme)
    uses.hset(LAST_USED_HASH, str(key.pk), WALL_S + 10**6)

    record_key_use()

    assert (last_used_s(key) or 0) <= time.time()


def test_what_names_no_key_is_dropped_and_holds_nothing_up(
    uses: redis.Redis, acme: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    key, deleted = issue(acme), issue(acme)
    deleted_id = deleted.pk
    deleted.delete()
    strange = {"web": "1", "-": "nan", str(10**30): "1", "7777777": "nan", "8888888": "soon", "9999999": "1e300"}
    uses.hset(LAST_USED_HASH, mapping={str(deleted_id): WALL_S, str(key.pk): WALL_S})
    for field, value in strange.items():
        uses.hset(LAST_USED_HASH, field, value)

    moved = record_key_use()

    assert moved == 1
    assert last_used_s(key) == WALL_S
    assert not uses.exists(LAST_USED_HASH)
    assert "'soon'" in caplog.text


def test_thousands_of_uses_move_in_one_run(uses: redis.Redis, acme: Tenant) -> None:
    ApiKey.objects.bulk_create(
        ApiKey(tenant=acme, name="web", prefix=f"{number:08}", digest=number.to_bytes(32), scopes=["ingest"])
        for number in range(2_000)
    )
    ids = list(ApiKey.objects.values_list("pk", flat=True))
    uses.hset(LAST_USED_HASH, mapping={str(key_id): WALL_S for key_id in ids})

    moved = record_key_use()

    assert moved == 2_000
    assert not ApiKey.objects.filter(last_used_at=None).exists()
    assert not uses.exists(LAST_USED_HASH)
