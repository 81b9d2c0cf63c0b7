"""A real Apache Kafka of this machine without a container: Maven brings the jars, KRaft needs nothing else.

Used by `manage.py up` and by the tests; the caller starts and ends the processes. One broker or several: each node is a
directory of its own with a property file, and knows all voters; one that is not among them is a broker only.
"""

import base64
import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from forebay.local.command import Command, LocalServiceError, Say

VERSION = "4.3.1"
_LOG4J_VERSION = "2.25.4"  # the one Kafka's own jars bring; only the bridge from slf4j is added
_JAVA_MAJOR_MIN = 17
# A checkout has one copy of the jars, however many var directories use them.
LIBS_DIR = Path(__file__).resolve().parents[3] / "var" / "kafka" / "libs"
_CLUSTER_ID = base64.urlsafe_b64encode(b"forebay-local-01").decode().rstrip("=")
_POLL_S = 0.1

_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>forebay</groupId>
  <artifactId>kafka-libs</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}
  </dependencies>
</project>
"""
_DEPENDENCY = (
    "    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"  # one a line
)
_DEPENDENCIES = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.kafka", "kafka-tools", VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", _LOG4J_VERSION),
)

_LOGGING = """\
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = stdout
"""


@dataclass(frozen=True)
class Node:
    """One broker, which may be a controller too (KRaft's combined mode); `broker_port` is where clients connect."""

    node_id: int
    broker_port: int
    controller_port: int
    host: str = "127.0.0.1"

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.broker_port}"


def why_unavailable(libs_dir: Path = LIBS_DIR) -> str | None:
    """What this machine lacks to run Kafka, as a line that says what to install; None when nothing."""
    if _java_major() < _JAVA_MAJOR_MIN:
        return f"Kafka needs Java {_JAVA_MAJOR_MIN} or newer (Debian, Ubuntu: apt-get install default-jre-headless)"
    if not _is_installed(libs_dir) and shutil.which("mvn") is None:
        return "Kafka is resolved by Maven, which is missing (Debian, Ubuntu: apt-get install maven)"
    return None


def available(libs_dir: Path = LIBS_DIR) -> bool:
    return why_unavailable(libs_dir) is None


def install(libs_dir: Path = LIBS_DIR, *, say: Say) -> None:
    """Resolves the jars once, with the user's own Maven settings; a second process waits for the first."""
    if _is_installed(libs_dir):
        return
    if lacking := why_unavailable(libs_dir):
        raise LocalServiceError(lacking)
    libs_dir.parent.mkdir(parents=True, exist_ok=True)
    with _locked(libs_dir.with_suffix(".lock")):
        if not _is_installed(libs_dir):
            say(f"resolving Apache Kafka {VERSION} with Maven (about 60 MB, once)")
            _resolve(libs_dir)


def prepare(
    directory: Path,
    node: Node,
    voters: Sequence[Node] = (),
    *,
    overrides: Mapping[str, str] | None = None,
    libs_dir: Path = LIBS_DIR,
) -> None:
    """Writes the node's property files and formats its storage once; ports may differ from one start to the next.

    `voters` are the cluster's controllers; none means a cluster of one. `overrides` are broker properties that win over
    ours.
    """
    directory.mkdir(parents=True, exist_ok=True)
    properties = _properties(directory, node, voters or (node,)) | dict(overrides or {})
    lines = [f"{name}={value}" for name, value in properties.items()]
    _properties_file(directory).write_text("\n".join(lines) + "\n")
    (directory / "log4j2.properties").write_text(_LOGGING)
    if not (directory / "data" / "meta.properties").exists():
        _format(directory, libs_dir)


def command(directory: Path, *, libs_dir: Path = LIBS_DIR, heap_mb: int = 512) -> Command:
    """The broker in `directory`, after prepare(). SIGTERM stops it gracefully."""
    options = [f"-Xmx{heap_mb}m", "-XX:+ExitOnOutOfMemoryError"]
    return Command([*_java(directory, libs_dir, options), "kafka.Kafka", str(_properties_file(directory))], directory)


def wait_until_ready(
    bootstrap: str, *, brokers: int = 1, deadline_s: float = 60.0, is_alive: Callable[[], bool] = lambda: True
) -> None:
    """Blocks until the cluster's metadata names `brokers` brokers; `is_alive` false ends the wait early.

    Raises LocalServiceError.
    """
    # Refused connections are expected here and not worth librdkafka's lines on standard error.
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    give_up_s = time.monotonic() + deadline_s
    while _broker_count(admin) < brokers:
        if not is_alive() or time.monotonic() > give_up_s:
            raise LocalServiceError(f"Kafka at {bootstrap} did not answer within {deadline_s:.0f} s: read its log")
        time.sleep(_POLL_S)


def _properties(directory: Path, node: Node, voters: Sequence[Node]) -> dict[str, str]:
    replicas = min(3, len(voters))
    is_voter, controller = node in voters, f"CONTROLLER://{node.host}:{node.controller_port}"
    internal = {
        f"{topic}.{setting}": str(value)
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        for setting, value in (("replication.factor", replicas), ("num.partitions", 4))
    }
    return internal | {
        "process.roles": "broker,controller" if is_voter else "broker",
        "node.id": str(node.node_id),
        "controller.quorum.voters": ",".join(f"{v.node_id}@{v.host}:{v.controller_port}" for v in voters),
        "listeners": f"PLAINTEXT://{node.bootstrap}" + (f",{controller}" if is_voter else ""),
        "advertised.listeners": f"PLAINTEXT://{node.bootstrap}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(directory / "data"),
        # Forebay creates what it routes to; a topic that appears by itself would hide a routing mistake.
        "auto.create.topics.enable": "false",
        "transaction.state.log.min.isr": str(max(1, replicas - 1)),
        "share.coordinator.state.topic.min.isr": str(max(1, replicas - 1)),
        "group.initial.rebalance.delay.ms": "0",
        "log.retention.bytes": str(1 << 30),
        "log.cleaner.dedupe.buffer.size": str(16 << 20),  # 128 MiB by default, a quarter of this heap
        "num.network.threads": "2",
        "num.io.threads": "4",
    }


def _properties_file(directory: Path) -> Path:
    return directory / "server.properties"


def _java(directory: Path, libs_dir: Path, options: Sequence[str] = ()) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise LocalServiceError(why_unavailable(libs_dir) or "java is not on PATH")
    logging = f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}"
    return [java, *options, logging, "-cp", f"{libs_dir}{os.sep}*"]


def _format(directory: Path, libs_dir: Path) -> None:
    arguments = ["format", "--cluster-id", _CLUSTER_ID, "--config", str(_properties_file(directory))]
    _run([*_java(directory, libs_dir), "kafka.tools.StorageTool", *arguments], "Kafka could not format its storage")


def _resolve(libs_dir: Path) -> None:
    """Fills a directory beside the wanted one and renames it, so that a directory of that name is always whole."""
    partial = libs_dir.with_suffix(".partial")
    for leftover in (partial, libs_dir):
        shutil.rmtree(leftover, ignore_errors=True)
    pom = libs_dir.with_suffix(".pom.xml")
    pom.write_text(_POM.format(dependencies="\n".join(_DEPENDENCY.format(*one) for one in _DEPENDENCIES)))
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={partial}", "-DincludeScope=runtime"]
    _run(["mvn", "-q", "-B", "-f", str(pom), *goal], f"Maven could not resolve Apache Kafka {VERSION}")
    _marker(partial).touch()
    partial.rename(libs_dir)


def _run(argv: list[str], failure: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no reason given"]
        reason = next((line for line in lines if "ERROR" in line or "Exception" in line), lines[-1])
        raise LocalServiceError(f"{failure}: {reason}")


def _marker(libs_dir: Path) -> Path:
    return libs_dir / f".complete-{VERSION}"


def _is_installed(libs_dir: Path) -> bool:
    return _marker(libs_dir).exists()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _java_major() -> int:
    java = shutil.which("java")
    if java is None:
        return 0
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', shown)
    return int(found.group(1)) if found else 0


def _broker_count(admin: AdminClient) -> int:
    try:
        return len(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return 0
