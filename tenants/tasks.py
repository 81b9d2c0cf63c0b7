"""Control plane: the Celery task that keeps `last used` of the keys. It shares one Redis hash with the event path: its
workers write key id -> wall seconds about once a minute. No snapshot holds a key's last use: the version does not move.
"""

import logging
import time
from datetime import UTC, datetime
from typing import cast

import redis
from celery import shared_task
from django.conf import settings
from django.db import transaction

from tenants.api_keys import LAST_USED_HASH
from tenants.models import ApiKey

_CHUNK_FIELDS = 500
# A worker may write a newer time between our read and our delete: then the field stays for the next run.
_REMOVE_UNCHANGED = """
for i = 1, #ARGV, 2 do
    if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
"""

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]  # Celery ships no types
def record_key_use() -> int:
    """Move what is in Redis into ApiKey.last_used_at; returns how many keys moved forward."""
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    client = redis.Redis.from_url(
        settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, decode_responses=True
    )
    try:
        return _move_all(client)
    except redis.RedisError as error:
        log.warning("last use of keys not recorded, Redis does not answer; the next run does it: %s", error)
        return 0
    finally:
        client.close()


def _move_all(client: redis.Redis) -> int:
    moved, cursor = 0, 0
    while True:
        cursor, answer = client.hscan(LAST_USED_HASH, cursor, count=_CHUNK_FIELDS)
        fields = cast(dict[str, str], answer)
        if fields:
            moved += _record(fields)
            client.eval(_REMOVE_UNCHANGED, 1, LAST_USED_HASH, *(text for pair in fields.items() for text in pair))
        if cursor == 0:
            return moved


@transaction.atomic
def _record(fields: dict[str, str]) -> int:
    used_at = _parse(fields)
    keys = ApiKey.objects.select_for_update().filter(pk__in=used_at).order_by("pk").only("last_used_at")
    forward = [key for key in keys if key.last_used_at is None or key.last_used_at < used_at[key.pk]]
    for key in forward:
        key.last_used_at = used_at[key.pk]
    ApiKey.objects.bulk_update(forward, ["last_used_at"])
    return len(forward)


def _parse(fields: dict[str, str]) -> dict[int, datetime]:
    """Key id -> time, never ahead of our own clock: a time in the future could not be moved forward for long."""
    used_at, wall_s = {}, time.time()
    for key_id, used_wall_s in fields.items():
        try:
            used_at[int(key_id)] = datetime.fromtimestamp(min(float(used_wall_s), wall_s), UTC)
        except (ValueError, OverflowError):
            log.warning("%s holds a field that is no key's last use: %.40r %.40r", LAST_USED_HASH, key_id, used_wall_s)
    return used_at
