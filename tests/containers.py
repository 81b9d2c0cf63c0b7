"""The same services as containers, for machines where a Docker daemon answers."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from forebay.local import kafka, postgres, redis
from forebay.local.command import LocalServiceError
from forebay.local.ports import free_port

_DAEMON_TIMEOUT_S = 10
_PULL_AND_START_TIMEOUT_S = 600


@dataclass(frozen=True)
class Image:
    """An image, how it is told its port, and how one knows that it serves."""

    tag: str
    inner_port: int | None  # None: the port it listens on is the one outside, since it advertises that itself
    address: Callable[[int], str]
    wait_until_ready: Callable[[str], None]
    environment: Callable[[int], dict[str, str]] = field(default=lambda _port: {})


def _kafka_environment(port: int) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }


KAFKA = Image(
    f"apache/kafka:{kafka.VERSION}",
    None,
    lambda port: f"127.0.0.1:{port}",
    lambda address: kafka.wait_until_ready(address),
    _kafka_environment,
)
REDIS = Image(
    "redis:7.4-alpine",
    6379,
    lambda port: f"redis://127.0.0.1:{port}/0",
    lambda address: redis.wait_until_ready(address),
)
POSTGRES = Image(
    "postgres:16-alpine",
    5432,
    lambda port: f"postgres://{postgres.SUPERUSER}@127.0.0.1:{port}/postgres",
    lambda address: postgres.wait_until_ready(address, deadline_s=60),
    lambda _port: {
        "POSTGRES_USER": postgres.SUPERUSER,
        "POSTGRES_DB": "postgres",
        "POSTGRES_HOST_AUTH_METHOD": "trust",
    },
)


@cache
def daemon_answers() -> bool:
    """Asked once a run; a client without a daemon counts as none."""
    if shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=_DAEMON_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def start(image: Image, name: str) -> str:
    """Starts a container on a free loopback port and returns its address when it answers."""
    port = free_port()
    environment = [part for item in image.environment(port).items() for part in ("--env", "=".join(item))]
    publish = f"127.0.0.1:{port}:{image.inner_port or port}"
    argv = ["docker", "run", "--detach", "--rm", "--name", name, "--publish", publish, *environment, image.tag]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_PULL_AND_START_TIMEOUT_S, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise LocalServiceError(f"Docker could not start {image.tag}: {reason}")
    image.wait_until_ready(image.address(port))
    return image.address(port)


def remove(name: str) -> None:
    """Ends and removes the container; one that never started is no error."""
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
