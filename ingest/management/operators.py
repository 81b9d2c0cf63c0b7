"""Control plane: what the operators' commands have in common: who and why, and Redis as far as it answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.core.management.base import CommandError, CommandParser
from redis import Redis, RedisError

from ingest.shared_redis import shared_redis as workers_redis
from tenants.management.terminal import add_who_option


def add_who_and_why(parser: CommandParser) -> None:
    """An operator's word is kept with both."""
    parser.add_argument("--reason", required=True, metavar="WHY", help="Why; kept with what you ask for.")
    add_who_option(parser)


@contextmanager
def shared_redis() -> Iterator[Redis]:
    """What the workers say to each other; one line where it cannot be read."""
    try:
        with workers_redis() as client:
            yield client
    except RedisError as error:
        raise CommandError(f"Redis does not answer, and what the workers say is there: {error}") from error


def moment(wall_ms: int) -> str:
    """Wall-clock time as these commands print it."""
    return f"{datetime.fromtimestamp(wall_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
