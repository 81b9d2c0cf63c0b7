"""Where a benchmark takes place: its own Kafka, Redis, database, tenant and snapshot builder under var/bench.

Only loopback, only ports that are free, nothing kept from one run to the next but the logs.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.processes import Service
from forebay.local import backing, kafka, node, ports, redis, var_lock
from forebay.local.child import Child
from forebay.local.command import Command, LocalServiceError, Say

ROOT: Final = Path(__file__).resolve().parents[1]
DIRECTORY: Final = ROOT / "var" / "bench" / "site"
LOGS: Final = DIRECTORY / "log"
SNAPSHOT: Final = DIRECTORY / "snapshot.msgpack"
TENANT: Final = "acme"
TOPIC: Final = "logs"
# A run writes gigabytes: what is older than the last few hundred megabytes goes while it runs.
KAFKA_PROPERTIES: Final = {
    "log.segment.bytes": str(32 << 20),
    "log.retention.bytes": str(64 << 20),
    "log.retention.check.interval.ms": "5000",
}


@dataclass(frozen=True)
class Site:
    """What the measured programs need to know. The environment of this process names the services already."""

    bootstrap: str
    key: str


@contextmanager
def opened(say: Say) -> Iterator[Site]:
    """Starts everything; stops everything on leaving, the last started first. Sets this process's environment."""
    with var_lock.held(DIRECTORY, say), ExitStack() as stack:
        _clear()
        stack.callback(_clear)
        say("starting Redis and Kafka")
        kafka.install(say=say)
        bootstrap, broker = _kafka()
        redis_url, redis_server = _redis()
        _export(bootstrap, redis_url)
        stack.callback(Service(redis_server, LOGS).stop)
        stack.callback(Service(broker, LOGS).stop)
        say("making the database, a tenant and its key")
        _manage("migrate", "--verbosity", "0")
        made = json.loads(_manage("tenant_create", TENANT, "--plan", "agent", "--issue-key", "--json"))
        stack.callback(Service(_builder(), LOGS).stop)
        yield Site(bootstrap, made["key"]["secret"])


def _export(bootstrap: str, redis_url: str) -> None:
    """One worker with the shipped defaults, but for what the caller's own environment says of the other settings."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "forebay.settings",
        "FOREBAY_VAR_DIR": str(DIRECTORY),
        "FOREBAY_HOST": "127.0.0.1",
        "FOREBAY_WORKERS": "1",
        "FOREBAY_NODES": "1",
        "FOREBAY_LISTEN_PORT": "0",  # it is not measured, and the worker need not share its quotas with one
        "FOREBAY_SNAPSHOT_FILE": str(SNAPSHOT),
        "FOREBAY_TOPIC_DEFAULT": TOPIC,
        "FOREBAY_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "FOREBAY_REDIS_URL": f"{redis_url}/0",
        "FOREBAY_CELERY_BROKER_URL": f"{redis_url}/1",
        "FOREBAY_SECRET_KEY": "of-a-benchmark-and-nothing-else-0123456789abcdef",
        "DATABASE_URL": f"sqlite:///{DIRECTORY / 'forebay.sqlite3'}",
    }


def _kafka() -> tuple[str, Child]:
    broker = kafka.Node(1, ports.free_port(), ports.free_port())
    directory = DIRECTORY / "kafka"
    kafka.prepare(directory, broker, overrides=KAFKA_PROPERTIES)
    command = kafka.command(directory)
    return broker.bootstrap, _child(
        "kafka", command, lambda: kafka.wait_until_ready(broker.bootstrap, deadline_s=0), backing.KAFKA_READY_WITHIN_S
    )


def _redis() -> tuple[str, Child]:
    port = ports.free_port()
    url = f"redis://127.0.0.1:{port}"
    command = redis.command(DIRECTORY / "redis", port, appendonly=False)
    return url, _child("redis", command, lambda: redis.wait_until_ready(url, deadline_s=0))


def _child(name: str, command: Command, ask: Callable[[], None], ready_timeout_s: float = 30.0) -> Child:
    def not_ready_because() -> str | None:
        try:
            ask()
        except LocalServiceError as error:
            return str(error)
        return None

    return Child(
        name,
        command.argv,
        cwd=command.cwd,
        env=command.env,
        not_ready_because=not_ready_because,
        ready_timeout_s=ready_timeout_s,
    )


def _builder() -> Child:
    return node.builder({}, not_ready_because=lambda: None if SNAPSHOT.exists() else "no snapshot yet")


def _manage(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LocalServiceError(f"manage.py {arguments[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _clear() -> None:
    """Everything of an earlier run but its logs and the lock that is being held."""
    for path in DIRECTORY.iterdir():
        if path.is_dir() and path != LOGS:
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and path.name != "supervisor.lock":
            path.unlink()
