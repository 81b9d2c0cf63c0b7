"""What a node stands on when `manage.py up` brings it along: a Redis and a Kafka of this machine, as children.

Only how each is started and found; which of them are wanted is for `up` to say.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from forebay.local import kafka, ports, redis
from forebay.local.child import Child
from forebay.local.command import Command, LocalServiceError

DEMO_BROKER_NOTE = "demo broker: in memory, keeps the last 5 MB a partition, no transactions"
# Where other programs of this machine look for a Kafka; any free port where that one is taken.
KAFKA_PORT = 9092
KAFKA_READY_WITHIN_S = 120.0


@dataclass(frozen=True)
class Service:
    """A child, what to call it, and where others find it: `address` may be asked once the child is ready."""

    name: str
    child: Child
    address: Callable[[], str]


def redis_server(var_dir: Path) -> Service:
    """A loopback Redis that keeps its keys in var/redis."""
    port = ports.free_port()
    url = f"redis://127.0.0.1:{port}"
    command = redis.command(var_dir / "redis", port, appendonly=True)
    child = _child("redis", command, lambda: _refusal(lambda: redis.wait_until_ready(url, deadline_s=0)))
    return Service("Redis", child, lambda: url)


def real_kafka(var_dir: Path) -> Service:
    """Apache Kafka with its records in var/kafka, after kafka.install(). Formats the storage once: seconds."""
    port = KAFKA_PORT if ports.port_is_free("127.0.0.1", KAFKA_PORT) else ports.free_port()
    node = kafka.Node(1, port, ports.free_port())
    directory = var_dir / "kafka" / "node-1"
    kafka.prepare(directory, node)
    command = kafka.command(directory)
    child = _child("kafka", command, lambda: _refusal(lambda: kafka.wait_until_ready(node.bootstrap, deadline_s=0)))
    return Service(f"Apache Kafka {kafka.VERSION}", child, lambda: node.bootstrap)


def demo_broker(var_dir: Path) -> Service:
    """librdkafka's mock cluster. It chooses its own port, so its successor would be another cluster: no restart."""
    file = var_dir / "demo_broker.address"
    file.unlink(missing_ok=True)
    argv = [sys.executable, "manage.py", "demo_broker", "--address-file", str(file)]
    child = Child(
        "demo_broker",
        argv,
        cwd=settings.BASE_DIR,
        not_ready_because=lambda: None if file.exists() else "it has not told its address",
        restarts=False,
    )
    return Service("the demo broker", child, file.read_text)


def _child(name: str, command: Command, not_ready_because: Callable[[], str | None]) -> Child:
    return Child(
        name,
        command.argv,
        cwd=command.cwd,
        env=command.env,
        not_ready_because=not_ready_because,
        ready_timeout_s=KAFKA_READY_WITHIN_S,
    )


def _refusal(ask_once: Callable[[], None]) -> str | None:
    try:
        ask_once()
    except LocalServiceError:
        return "it does not answer"
    return None
