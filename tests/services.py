"""The real services a test run uses: an address from the environment, else a container, else a native program.

`Services` belongs to the session (tests/conftest.py) and has one of each, started when a test first asks. The servers
below it are also for tests that stop, kill or freeze a service of their own.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

from forebay.local import kafka, postgres, redis
from forebay.local.command import Command, LocalServiceError, Say
from forebay.local.ports import free_port
from tests import containers
from tests.programs import Program

KAFKA_PACKAGES = ("default-jre-headless", "maven")
REDIS_PACKAGES = ("redis-server",)
POSTGRES_PACKAGES = ("postgresql",)

_HEAP_OF_MANY_MB = 256

# The controller lets a killed broker in again when its session is over: 9 s by default, the whole of a fault test.
_SHORT_SESSION = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "1000"}


class Startable(Protocol):
    """What is stopped with the session once it was started."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


S = TypeVar("S", bound=Startable)


class Server:
    """A native service of one address; what is stopped or killed can be started again there, with what it stored."""

    def __init__(
        self, directory: Path, command: Command, wait_until_ready: Callable[[Callable[[], bool]], None]
    ) -> None:
        self.directory = directory
        self._command = command
        self._wait_until_ready = wait_until_ready
        self._program: Program | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Returns at once: for one that waits for others before it answers."""
        self._program = Program(self._command, self.directory / "output.log")

    def wait_until_ready(self) -> None:
        try:
            self._wait_until_ready(self.program.is_alive)
        except LocalServiceError as failed:
            self.program.kill()
            raise LocalServiceError(f"{failed}; it ends with: {self.program.log_tail(1)}") from failed

    def mend(self) -> None:
        """Running and answering again, whatever was done to it."""
        if self.program.is_alive():
            self.thaw()
        else:
            self.launch()
        self.wait_until_ready()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Gracefully; nothing happens when it is not running."""
        if self._program is not None and self._program.is_alive():
            self._program.send(signal.SIGCONT)
            self._program.stop(number)

    def kill(self) -> None:
        """As a machine that dies: no goodbye."""
        self.program.kill()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing, as a machine that hangs."""
        self.program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.program.send(signal.SIGCONT)

    @property
    def program(self) -> Program:
        assert self._program is not None, "not started"
        return self._program


class KafkaServer(Server):
    """One broker: alone, or one of a cluster whose controllers are `voters`."""

    def __init__(
        self,
        directory: Path,
        say: Say,
        node: kafka.Node | None = None,
        *,
        voters: Sequence[kafka.Node] = (),
        overrides: Mapping[str, str] | None = None,
        heap_mb: int = 512,
    ) -> None:
        kafka.install(say=say)
        node = node or kafka_node()
        kafka.prepare(directory, node, voters, overrides=_SHORT_SESSION | dict(overrides or {}))
        self.bootstrap = node.bootstrap
        super().__init__(
            directory,
            kafka.command(directory, heap_mb=heap_mb),
            lambda is_alive: kafka.wait_until_ready(node.bootstrap, is_alive=is_alive),
        )


class KafkaCluster:
    """Brokers of which the first is the controller too: the others may die, and the cluster knows it."""

    def __init__(self, directory: Path, say: Say, *, brokers: int) -> None:
        nodes = [kafka_node(number) for number in range(1, brokers + 1)]
        self.brokers = [
            KafkaServer(directory / str(node.node_id), say, node, voters=nodes[:1], heap_mb=_HEAP_OF_MANY_MB)
            for node in nodes
        ]
        self.bootstrap = ",".join(node.bootstrap for node in nodes)

    def start(self) -> None:
        """Returns when all brokers belong to it."""
        for broker in self.brokers:
            broker.launch()
        self.wait_until_whole()

    def stop(self) -> None:
        """The controller last: the others report to it that they leave."""
        for broker in reversed(self.brokers):
            broker.stop()

    def mend(self) -> None:
        """All of them running again, whatever was done to them."""
        for broker in self.brokers:
            broker.mend()
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Until the controller counts every broker as alive."""
        kafka.wait_until_ready(self.bootstrap, brokers=len(self.brokers))


def kafka_node(number: int = 1) -> kafka.Node:
    """A node on free ports."""
    return kafka.Node(number, free_port(), free_port())


class RedisServer(Server):
    """Loses what it had when it stops, as a cache does."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        super().__init__(
            directory,
            redis.command(directory, port, appendonly=False),
            lambda is_alive: redis.wait_until_ready(self.url, is_alive=is_alive),
        )


class PostgresServer(Server):
    """Keeps what was committed when it stops or is killed."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.url = f"postgres://{postgres.SUPERUSER}@127.0.0.1:{port}/postgres"
        postgres.initialise(directory / "cluster")
        super().__init__(
            directory,
            postgres.command(directory / "cluster", port, durable=False),
            lambda is_alive: postgres.wait_until_ready(self.url, is_alive=is_alive),
        )

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is its fast shutdown: SIGTERM waits for every client to leave."""
        super().stop(number)


class Services:
    """What the session has started; every address is asked for once and kept."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._stack = ExitStack()
        self._addresses: dict[str, str] = {}

    def kafka_bootstrap(self) -> str:
        return self._address(
            "FOREBAY_TEST_KAFKA_BOOTSTRAP_SERVERS", containers.KAFKA, lambda: self.own_kafka().bootstrap
        )

    def redis_url(self) -> str:
        return self._address("FOREBAY_TEST_REDIS_URL", containers.REDIS, lambda: self.own_redis().url)

    def postgres_url(self) -> str:
        return self._address("FOREBAY_TEST_DATABASE_URL", containers.POSTGRES, lambda: self.own_postgres().url)

    def own_kafka(self, node: kafka.Node | None = None, overrides: Mapping[str, str] | None = None) -> KafkaServer:
        """A further native broker, running; stopped with the rest unless the test does."""
        self._need_kafka()
        return self._started(KafkaServer(self._directory("kafka"), self._say, node, overrides=overrides))

    def own_cluster(self, brokers: int = 3) -> KafkaCluster:
        """Native brokers that are one cluster, running."""
        self._need_kafka()
        return self._started(KafkaCluster(self._directory("cluster"), self._say, brokers=brokers))

    def own_redis(self) -> RedisServer:
        _or_install(redis.find_server, lambda: self._install_packages(*REDIS_PACKAGES))
        return self._started(RedisServer(self._directory("redis")))

    def own_postgres(self) -> PostgresServer:
        _or_install(lambda: postgres.find_binary("initdb"), lambda: self._install_packages(*POSTGRES_PACKAGES))
        return self._started(PostgresServer(self._directory("postgres")))

    def close(self) -> None:
        """Stops everything, the last started first, and removes its directories."""
        self._stack.close()

    def _need_kafka(self) -> None:
        if kafka.why_unavailable():
            self._install_packages(*KAFKA_PACKAGES)

    def _address(self, variable: str, image: containers.Image, native: Callable[[], str]) -> str:
        if variable not in self._addresses:
            self._addresses[variable] = os.environ.get(variable) or self._contained(image) or native()
        return self._addresses[variable]

    def _contained(self, image: containers.Image) -> str | None:
        if not containers.daemon_answers():
            return None
        self._say(f"starting {image.tag} with Docker")
        name = f"forebay-test-{uuid4().hex[:12]}"
        self._stack.callback(containers.remove, name)
        return containers.start(image, name)

    def _started(self, server: S) -> S:
        self._stack.callback(server.stop)
        server.start()
        return server

    def _directory(self, name: str) -> Path:
        # Directly under the temporary directory and open to others: PostgreSQL may run as a user of its own.
        directory = Path(tempfile.mkdtemp(prefix=f"forebay-{name}-"))
        directory.chmod(0o755)
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def _install_packages(self, *packages: str) -> None:
        """With apt-get as root or through sudo; does nothing elsewhere: the caller's own error says what is missing."""
        become_root = _become_root()
        if become_root is None or shutil.which("apt-get") is None:
            return
        self._say(f"installing {' '.join(packages)} with apt-get")
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            done = subprocess.run(
                [*become_root, "apt-get", *arguments],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
                raise LocalServiceError(f"apt-get could not install {' '.join(packages)}: {reason}")


def _or_install(find: Callable[[], object], install: Callable[[], None]) -> None:
    try:
        find()
    except LocalServiceError:
        install()


def _become_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None
