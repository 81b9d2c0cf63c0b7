"""`python -m bench.console`: how long the console's pages take on a platform with a past. Some minutes.

Starts a PostgreSQL and a Redis as the tests get them, and `bench.console_pages` with their addresses, which fills them,
asks for each page and prints one table.
"""

import os
import subprocess
import sys
from uuid import uuid4

import psycopg

from forebay.local.command import LocalServiceError
from tests.services import Services


def main() -> None:
    services = Services(_say)
    try:
        command = [sys.executable, "-m", "bench.console_pages", *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=os.environ | _addresses(services), check=False).returncode)
    except LocalServiceError as lacking:
        sys.exit(f"bench: {lacking}")
    except KeyboardInterrupt:
        sys.exit("bench: interrupted; everything that was started is stopped")
    finally:
        services.close()


def _addresses(services: Services) -> dict[str, str]:
    """A database of its own and an empty Redis, as Forebay's settings."""
    url, name = services.postgres_url(), f"console_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return {
        "DATABASE_URL": f"{url.rpartition('/')[0]}/{name}",
        "FOREBAY_REDIS_URL": services.own_redis().url,
        "FOREBAY_LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "forebay.settings",
        "PYTHONPATH": os.pathsep.join(["platform", "."]),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
