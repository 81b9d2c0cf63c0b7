"""docs/sources.md as its reader meets it: each example is run as it stands, and Kafka has the events it speaks of.

Bash runs the bash blocks and an interpreter of their own the Python ones, with the variables that the page itself
introduces. A Python block that begins with a file's name is written there for the block after it. What goes on until
Ctrl-C gets that Ctrl-C once its events are stored.
"""

import json
import os
import re
import shutil
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from forebay.local.command import Command
from tests.consumer import Record, read_records
from tests.faults.conftest import wait_until_acknowledged
from tests.faults.traffic import Client, event
from tests.integration.conftest import Platform
from tests.node import ROOT
from tests.programs import Program, poll_until

PAGE = ROOT / "docs" / "sources.md"
CLIENT = ROOT / "clients" / "python"
DEADLINE_S = 90.0
HEADING_OR_BLOCK = re.compile(r"^#+ (?P<heading>.+)$|^```(?P<language>.*)\n(?P<text>[\s\S]*?)^```$", re.MULTILINE)
RUNNERS = {"bash": ["bash", "-eo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
TAIL = "See it arrive"


class Block(NamedTuple):
    heading: str
    language: str
    text: str

    @property
    def variables(self) -> list[str]:
        """What it introduces, if it does nothing else."""
        lines = self.text.splitlines()
        return re.findall(r"(\w+)=", self.text) if all(line.startswith("export ") for line in lines) else []

    @property
    def file(self) -> str:
        """Where it is to be kept; empty for one that is run."""
        name = re.match(r"# (\w+\.py)\n", self.text)
        return name[1] if name else ""


@dataclass(frozen=True)
class Example:
    """What Kafka must have once it has run."""

    source: str
    messages: tuple[str, ...]
    tenant: str = "acme"
    correlation_id: str = ""
    until_ctrl_c: bool = False

    def of(self, records: list[Record]) -> list[dict[str, Any]]:
        values = (json.loads(record.value) for record in records)
        return [value for value in values if value["source"] == self.source and value["message"] in self.messages]


EXAMPLES = {
    "One request": Example("request", ("card declined",)),
    "A batch": Example("batch", ("paid", "slow")),
    "A stream": Example("stream", ("tick 1", "tick 2", "tick 3")),
    "A WebSocket": Example("websocket", ("hello",)),
    "Syslog over TCP": Example("syslog-tcp", ("link is down",)),
    "Syslog over UDP": Example("syslog-udp", ("link is up",)),
    "Syslog over TLS": Example("syslog-tls", ("link is slow",), tenant="bolt"),
    "Log files": Example("files", ("ERROR disk is full",), until_ctrl_c=True),
    "Log files beside Forebay": Example("local-files", ("WARN disk is nearly full",)),
    "Python logging": Example("logging", ("card declined",)),
    "structlog": Example("structlog", ("card declined",)),
    "Django": Example("django", ("card declined",), correlation_id="order-17"),
    "Celery": Example("celery", ("charged order 17",), until_ctrl_c=True),
    "A Python client": Example("client", ("forgotten", "called back", "acknowledged")),
    "asyncio": Example("asyncio", ("forgotten", "called back", "acknowledged")),
}


def blocks_of(page: str) -> Iterator[Block]:
    heading = ""
    for found in HEADING_OR_BLOCK.finditer(page):
        heading = found["heading"] or heading
        if found["text"] is not None:
            yield Block(heading, found["language"], found["text"])


TEXT = PAGE.read_text()
BLOCKS = list(blocks_of(TEXT))
INTRODUCED = {name for block in BLOCKS for name in block.variables}
TO_RUN = [block for block in BLOCKS if not block.variables and not block.file]


class Terminal:
    """A reader's directory and environment: the page's own variables, and the package and commands it asks for."""

    def __init__(self, platform: Platform, broker_url: str, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "printed.txt"
        self.variables = {
            "FOREBAY_URL": platform.node.url,
            "LISTEN": f"http://127.0.0.1:{platform.node.listen_port}",
            "FOREBAY_KEY": platform.keys["acme"],
            "SYSLOG_HOST": "127.0.0.1",
            "SYSLOG_TCP_PORT": str(platform.ports["token"]),
            "SYSLOG_UDP_PORT": str(platform.ports["udp"]),
            "SYSLOG_TLS_PORT": str(platform.ports["tls"]),
            "CELERY_BROKER_URL": broker_url,
        }
        commands = directory / "bin"
        commands.mkdir()
        install_command(commands)
        self._surroundings = {
            "PATH": os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(CLIENT / "src"),
            # Where checkpoints are kept.
            "XDG_STATE_HOME": str(directory / "state"),
            "FOREBAY_VAR_DIR": str(directory / "var"),
        }
        (directory / "manage.py").symlink_to(ROOT / "manage.py")
        for name in ("ca.pem", "client.pem", "client.key"):
            shutil.copy(platform.certificates / name, directory)

    @contextmanager
    def running(self, heading: str) -> Iterator[Program]:
        """The example under a heading; one that has not ended by then gets a Ctrl-C, and ends."""
        for block in BLOCKS:
            if block.heading == heading and block.file:
                (self._directory / block.file).write_text(block.text)
        (block,) = (block for block in TO_RUN if block.heading == heading)
        # A test run in the background ignores Ctrl-C, and bash and curl would do so too.
        argv = ["env", "--default-signal=INT", *RUNNERS[block.language], block.text]
        program = Program(Command(argv, self._directory, self.variables | self._surroundings), self._log)
        try:
            yield program
            if program.is_alive():
                # As a terminal does, to all that runs in it.
                os.killpg(program.pid, signal.SIGINT)
            program.wait(DEADLINE_S)
        finally:
            program.kill()


def install_command(directory: Path) -> None:
    """`forebay`, as installing the package makes it."""
    ((name, target),) = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]["scripts"].items()
    module, _, function = target.partition(":")
    command = directory / name
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    command.chmod(0o755)


@pytest.fixture
def terminal(platform: Platform, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # That of these tests is not the reader's.
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    return Terminal(platform, redis_url, tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _topic_is_there(platform: Platform) -> None:
    wait_until_acknowledged(platform.node, platform.keys["acme"])


def test_no_example_is_left_out_and_no_variable_comes_from_nowhere(terminal: Terminal) -> None:
    assert len(BLOCKS) * 2 == len(re.findall(r"```|~~~", TEXT))
    assert {block.language for block in BLOCKS} <= RUNNERS.keys()
    assert Counter(block.heading for block in TO_RUN) == dict.fromkeys([TAIL, *EXAMPLES], 1)
    assert terminal.variables.keys() == INTRODUCED


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_works_as_it_stands(platform: Platform, terminal: Terminal, heading: str) -> None:
    example = EXAMPLES[heading]

    with terminal.running(heading) as program:
        exit_code = 0 if example.until_ctrl_c else program.wait(DEADLINE_S)
        stored = stored_of(platform, example)

    assert exit_code == 0, program.log_tail()
    assert sorted(value["message"] for value in stored) == sorted(example.messages), program.log_tail()
    assert {value["tenant"] for value in stored} == {example.tenant}
    assert example.correlation_id in ("", stored[0]["correlationId"])


def stored_of(platform: Platform, example: Example) -> list[dict[str, Any]]:
    """Once as many are there as must be, or at the deadline."""

    def all_there(records: list[Record]) -> bool:
        return len(example.of(records)) >= len(example.messages)

    return example.of(read_records(platform.bootstrap, platform.topic, until=all_there, deadline_s=DEADLINE_S))


def test_the_live_tail_shows_what_kafka_has(platform: Platform, terminal: Terminal) -> None:
    with (
        terminal.running(TAIL) as program,
        Client(platform.node.port, platform.keys["acme"]) as sender,
    ):
        # It begins with what comes after its first look.
        assert poll_until(lambda: accepted(sender) and bool(shown_by(program)), DEADLINE_S), program.log_tail()
    shown = shown_by(program)[0]
    (stored,) = stored_of(platform, Example(shown["source"], (shown["message"],)))

    assert (stored["eventId"], stored["tenant"]) == (shown["eventId"], "acme")


def accepted(sender: Client) -> bool:
    return sender.post("/api/logs", json.dumps(event("seen", time.monotonic_ns())).encode()).status == 202


def shown_by(program: Program) -> list[dict[str, Any]]:
    """Of the source that this test sends as."""
    shown = re.findall(r"^data: (.+)\n", program.log.read_text(), re.MULTILINE)
    return [value for value in map(json.loads, shown) if value["source"] == "seen"]
