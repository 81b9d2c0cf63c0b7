"""What every test may ask for: the real services of the run, a topic of its own, a database of its own, a node.

Nothing is started before a test asks for it, so that the unit tests need no service.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

import environ
import psycopg
import pytest
from django.conf import settings
from django.db import connections
from redis import Redis

from forebay.local.command import LocalServiceError
from tests.node import ROOT, Node
from tests.programs import run
from tests.services import KafkaServer, PostgresServer, RedisServer, Services

P = ParamSpec("P")
R = TypeVar("R")
_UNIT_TESTS = Path(__file__).parent / "unit"
_LOG_TAIL_LINES = 60


def pytest_configure(config: pytest.Config) -> None:
    """No test writes into the checkout's var directory, where a developer's own journal lies."""
    var_dir = Path(tempfile.mkdtemp(prefix="forebay-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(var_dir, ignore_errors=True))
    settings.FOREBAY_VAR_DIR = var_dir
    settings.FOREBAY_JOURNAL_DIR = var_dir / "journal"
    settings.FOREBAY_SNAPSHOT_FILE = var_dir / "snapshot.msgpack"


def or_end_the_run(start: Callable[P, R]) -> Callable[P, R]:
    """A service that cannot be had ends the run with its one line: a skipped test would look like a passed one."""

    @wraps(start)
    def started(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return start(*args, **kwargs)
        except LocalServiceError as lacking:
            return pytest.exit(str(lacking), returncode=pytest.ExitCode.INTERNAL_ERROR)

    return started


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """Everything that was started stops at the end, after a failure and a Ctrl-C too."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    running = Services(lambda line: reporter.write_line(f"\n{line}"))
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="session")
def kafka_bootstrap(services: Services) -> str:
    return or_end_the_run(services.kafka_bootstrap)()


@pytest.fixture(scope="session")
def redis_url(services: Services) -> str:
    return or_end_the_run(services.redis_url)()


@pytest.fixture(scope="session")
def postgres_url(services: Services) -> str:
    """In DATABASE_URL's form; the user may create databases."""
    return or_end_the_run(services.postgres_url)()


@pytest.fixture
def own_kafka(services: Services) -> Iterator[KafkaServer]:
    """A broker that the test may stop, kill or freeze."""
    server = or_end_the_run(services.own_kafka)()
    yield server
    server.stop()


@pytest.fixture
def own_redis(services: Services) -> Iterator[RedisServer]:
    """A Redis that the test may stop, kill or freeze."""
    server = or_end_the_run(services.own_redis)()
    yield server
    server.stop()


@pytest.fixture
def own_postgres(services: Services) -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop, kill or freeze."""
    server = or_end_the_run(services.own_postgres)()
    yield server
    server.stop()


@pytest.fixture
def empty_redis_url(redis_url: str) -> str:
    """The session's Redis with nothing in it."""
    with Redis.from_url(redis_url) as client:
        client.flushdb()
    return redis_url


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """Unique, so that no test reads another's records; it begins with the test's name."""
    return f"{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())[:60].strip('-')}-{uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def migrated_database(postgres_url: str) -> str:
    """The name of a database with all tables and nothing in them: a copy of it takes a tenth of a migration's time."""
    name = f"forebay_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = f"{postgres_url.rpartition('/')[0]}/{name}"
    run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env={"DATABASE_URL": url}, cwd=ROOT)
    return name


@pytest.fixture
def database_url(postgres_url: str, migrated_database: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own, migrated and empty, for processes it starts."""
    with new_database(postgres_url, migrated_database) as url:
        yield url


@contextmanager
def new_database(postgres_url: str, migrated_database: str) -> Iterator[str]:
    """One that is there as long as the block lasts."""
    name = f"forebay_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_database}"')
        yield f"{postgres_url.rpartition('/')[0]}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def start_node(
    tmp_path: Path, kafka_bootstrap: str, empty_redis_url: str, database_url: str, topic_name: str
) -> Iterator[Callable[..., Node]]:
    """Starts nodes on the session's services with the test's own database and default topic.

    Keyword arguments replace a service's address (`kafka_bootstrap`, `redis_url`, `database_url`), add to the
    environment, or leave the start to the test (`start=False`). A failed test shows the end of each node's log.
    """
    nodes: list[Node] = []

    def start(*, environment: dict[str, str] | None = None, start: bool = True, **addresses: str) -> Node:
        chosen = {"kafka_bootstrap": kafka_bootstrap, "redis_url": empty_redis_url, "database_url": database_url}
        node = Node(
            tmp_path / f"node-{len(nodes)}",
            environment={"FOREBAY_TOPIC_DEFAULT": topic_name, **(environment or {})},
            **(chosen | addresses),
        )
        nodes.append(node)
        if "database_url" in addresses:
            node.migrate()
        if start:
            node.start()
        return node

    yield start
    for node in nodes:
        node.stop()
        if node.log.exists():
            print(f"--- {node.log}", *node.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:], sep="\n")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """The unit tests alone run on SQLite in memory; as soon as others take part, all use the real PostgreSQL."""
    if all(item.path.is_relative_to(_UNIT_TESTS) for item in request.session.items):
        return
    url: str = request.getfixturevalue("postgres_url")
    database = connections.configure_settings({"default": environ.Env.db_url_config(url)})["default"]
    settings.DATABASES["default"] = connections.settings["default"] = database
    if connections.all(initialized_only=True):
        del connections["default"]
