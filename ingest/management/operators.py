"""Control plane: what the operators' commands have in common: who and why, and Redis as far as it answers."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from redis import Redis, RedisError


def add_who_and_why(parser: CommandParser) -> None:
    """An operator's word is kept with both."""
    parser.add_argument("--reason", required=True, metavar="WHY", help="Why; kept with what you ask for.")
    parser.add_argument("--by", default=_user(), metavar="NAME", help="Who you are. Default: the user of this shell.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user needs no name
        return ""


@contextmanager
def shared_redis() -> Iterator[Redis]:
    """What the workers say to each other; one line where it cannot be read."""
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    client = Redis.from_url(settings.FOREBAY_REDIS_URL, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    with client:
        try:
            yield client
        except RedisError as error:
            raise CommandError(f"Redis does not answer, and what the workers say is there: {error}") from error


def moment(wall_ms: int) -> str:
    """Wall-clock time as these commands print it."""
    return f"{datetime.fromtimestamp(wall_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
