"""What the browser tests share: a node with its Celery, people with roles, and a Chromium that checks what it sees."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.celery_programs import celery
from tests.conftest import or_end_the_run
from tests.e2e.browser import Browser
from tests.node import Node
from tests.services import Services

PASSWORD = "of-people-in-tests-only-1"
_PEOPLE = """
from django.contrib.auth.models import Group, User
for name in ("viewer", "operator", "routing editor", "tenant manager", "admin"):
    user = User.objects.create_user(name.split()[0], password={password!r}, is_staff=True)
    user.groups.add(Group.objects.get(name=name))
"""
_FAST = {
    "FOREBAY_REPLAY_SWEEP_INTERVAL_S": "1",
    # Slow enough that a person sees a bulk replay run, and stops it.
    "FOREBAY_REPLAY_MAX_EVENTS_PER_S": "50",
    "FOREBAY_BREAKER_OPEN_S": "3",
    "FOREBAY_LEDGER_COPY_INTERVAL_S": "1",
}


class Console:
    """A running platform: its node, and a browser for each person who is logged in."""

    def __init__(self, node: Node, tmp_path: Path) -> None:
        self.node = node
        self._tmp_path = tmp_path
        self._profiles = 0
        self.browsers: list[Browser] = []

    def as_(self, person: str) -> Browser:
        """A browser of its own for `viewer`, `operator`, `routing`, `tenant` or `admin`."""
        self._profiles += 1
        browser = or_end_the_run(Browser)(self.node.url, self._tmp_path / f"profile-{self._profiles}")
        self.browsers.append(browser)
        browser.log_in(person, PASSWORD)
        return browser

    def complaints(self) -> list[str]:
        """What was wrong with the pages that were seen."""
        return [complaint for browser in self.browsers for complaint in browser.checked]

    def close(self) -> None:
        for browser in self.browsers:
            browser.close()
        self.browsers.clear()

    def tenant_with_key(self, name: str, *, plan: str = "agent") -> str:
        """Make a tenant; returns the secret of a key of it."""
        self.node.manage("tenant_create", name, "--plan", plan)
        made = self.node.manage("key_issue", name, "--name", "tests", "--scopes", "ingest", "read", "--json")
        return str(json.loads(made.strip().splitlines()[-1])["secret"])

    def shell(self, code: str) -> str:
        """Python in the node's environment."""
        return self.node.manage("shell", "--verbosity", "0", "-c", code)


def _began(node: Node, tmp_path: Path, running: ExitStack) -> Console:
    """Celery beside a node, and people of every role."""
    running.enter_context(celery(tmp_path, **node.environment))
    console = Console(node, tmp_path)
    running.callback(console.close)
    console.shell(_PEOPLE.format(password=PASSWORD))
    return console


@pytest.fixture
def serve_console(tmp_path: Path, start_node: Callable[..., Node]) -> Iterator[Callable[..., Console]]:
    """Starts a platform of the test's own, for those that break its services. What the browser saw wrong on any page
    fails the test."""
    consoles: list[Console] = []
    with ExitStack() as running:

        def serve(*, environment: dict[str, str] | None = None, **addresses: str) -> Console:
            node = start_node(environment={**_FAST, **(environment or {})}, **addresses)
            consoles.append(_began(node, tmp_path, running))
            return consoles[-1]

        yield serve
    assert [complaint for console in consoles for complaint in console.complaints()] == []


@pytest.fixture(scope="session")
def _shared_console(
    services: Services,
    kafka_bootstrap: str,
    postgres_url: str,
    migrated_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Console]:
    tmp_path, name = tmp_path_factory.mktemp("console"), f"console_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_database}"')
    with ExitStack() as running:
        redis = or_end_the_run(services.own_redis)()
        running.callback(redis.stop)
        node = Node(
            tmp_path / "node",
            kafka_bootstrap=kafka_bootstrap,
            redis_url=redis.url,
            database_url=f"{postgres_url.rpartition('/')[0]}/{name}",
            environment={"FOREBAY_TOPIC_DEFAULT": f"console-{uuid4().hex[:8]}", **_FAST},
        )
        running.callback(node.stop)
        node.start()
        yield _began(node, tmp_path, running)


@pytest.fixture
def shared_console(_shared_console: Console) -> Iterator[Console]:
    """One platform for all tests that leave its services alone; each brings tenants and topics of its own. Its browsers
    are closed after each test, and what they saw wrong fails it."""
    yield _shared_console
    complaints = _shared_console.complaints()
    _shared_console.close()
    assert complaints == []
