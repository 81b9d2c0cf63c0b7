"""The Redis in which the workers tell of themselves, for commands, tasks and the console; never the event path's."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from redis import Redis


@contextmanager
def shared_redis() -> Iterator[Redis]:
    """A client for one piece of work. What is asked raises RedisError within the settings' timeout."""
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    client = Redis.from_url(settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    with client:
        yield client
