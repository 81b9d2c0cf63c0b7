"""`manage.py up` and `serve` as a person meets them: what they print, that the printed lines work, and that nothing is
left of them, however they end.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay.local import ports
from forebay.local.command import Command
from forebay.local.processes import session_of
from tests.programs import Program, children_of, poll_until

ROOT = Path(__file__).resolve().parents[2]
MANAGE = [sys.executable, "manage.py"]
READY_DEADLINE_S = 150.0
STOP_DEADLINE_S = 60.0
SAID_WHEN_READY = "Ctrl-C stops it"
# What a machine that runs these tests may have set, and a bare one has not.
OF_OTHERS = ("FOREBAY_KAFKA_BOOTSTRAP_SERVERS", "FOREBAY_REDIS_URL", "FOREBAY_CELERY_BROKER_URL", "DATABASE_URL")


@dataclass
class Run:
    """One run of a command, its environment and what it printed."""

    program: Program
    environment: dict[str, str]

    @property
    def printed(self) -> str:
        return self.program.log.read_text(errors="replace")

    @property
    def sessions(self) -> set[int]:
        """The sessions of the supervisor and of every child of it."""
        return {self.program.pid, *children_of(self.program.pid)}

    def wait_until_it_says(self, text: str) -> None:
        poll_until(lambda: text in self.printed or not self.program.is_alive(), READY_DEADLINE_S)
        assert text in self.printed, self.printed

    def paste_curl(self) -> dict[str, str]:
        """Run the printed line in a shell, as it stands."""
        line = next(line for line in self.printed.splitlines() if line.strip().startswith("curl "))
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        return dict(json.loads(answer.stdout))

    def consume(self) -> list[dict[str, str]]:
        done = manage(self.environment, "consume", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


class House:
    """One var directory and port, in which commands are run."""

    def __init__(self, directory: Path) -> None:
        self.var_dir = directory / "var"
        self.port = ports.free_port()
        self.environment = {
            "FOREBAY_VAR_DIR": str(self.var_dir),
            "FOREBAY_PORT": str(self.port),
            "FOREBAY_LISTEN_PORT": str(ports.free_port()),
        }
        self._directory = directory
        self._runs: list[Run] = []

    def start(self, *arguments: str, says: str = SAID_WHEN_READY, **environment: str) -> Run:
        everything = self.environment | environment
        log = self._directory / f"printed-{len(self._runs)}.txt"
        run = Run(Program(Command([*MANAGE, *arguments], ROOT, everything), log), everything)
        self._runs.append(run)
        run.wait_until_it_says(says)
        return run

    def end(self) -> None:
        for run in self._runs:
            if run.program.is_alive():
                run.program.stop(grace_s=STOP_DEADLINE_S)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    for name in OF_OTHERS:
        monkeypatch.delenv(name, raising=False)
    house = House(tmp_path)
    yield house
    house.end()


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MANAGE, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=READY_DEADLINE_S,
    )


def left_of(sessions: set[int]) -> list[int]:
    """Every process of these sessions, at any depth."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if session_of(pid) in sessions]


def api_status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_up_prints_a_curl_that_works_and_consume_shows_the_event(house: House) -> None:
    up = house.start("up", "--demo-broker")

    accepted = up.paste_curl()
    poll_until(lambda: bool(up.consume()), READY_DEADLINE_S)
    records = up.consume()

    assert accepted["status"] == "Accepted"
    assert [json.loads(record["value"])["eventId"] for record in records] == [accepted["eventId"]]
    assert up.printed.startswith("demo broker: in memory, keeps the last 5 MB a partition, no transactions\n")
    assert len(up.printed[up.printed.index("Forebay runs on") :].splitlines()) < 10
    for path in ("/health/ready", "/metrics", "/api/docs/", "/admin/login/"):
        assert api_status(house.port, path) == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_leaves_no_process_and_no_port(house: House, number: signal.Signals) -> None:
    up = house.start("up", "--demo-broker")
    sessions = up.sessions
    assert len(left_of(sessions)) > len(sessions), "workers of workers are part of the test"

    up.program.send(number)

    assert up.program.wait(STOP_DEADLINE_S) == 0
    assert left_of(sessions) == []
    assert ports.port_is_free("127.0.0.1", house.port)
    assert up.printed.endswith("stopped\n")
    assert not (house.var_dir / "up.env").exists()


def test_a_signal_while_it_starts_leaves_nothing_either(house: House) -> None:
    up = house.start("up", "--demo-broker", says="database")
    sessions = up.sessions

    up.program.send(signal.SIGINT)

    assert up.program.wait(STOP_DEADLINE_S) == 0
    assert left_of(sessions) == []


def test_records_key_and_password_outlive_a_killed_up_on_real_kafka(house: House) -> None:
    first = house.start("up")
    accepted = first.paste_curl()
    sessions = first.sessions

    first.program.send(signal.SIGKILL)
    first.program.wait(STOP_DEADLINE_S)
    second = house.start("up")
    records = second.consume()

    assert poll_until(lambda: left_of(sessions) == [], STOP_DEADLINE_S), left_of(sessions)
    assert "Apache Kafka" in second.printed
    assert accepted["eventId"] in [json.loads(record["value"])["eventId"] for record in records]
    assert second.paste_curl()["status"] == "Accepted"
    assert secrets_in(second.printed) == secrets_in(first.printed)


def test_a_second_up_is_refused_in_one_line_and_does_no_harm(house: House) -> None:
    up = house.start("up", "--demo-broker")

    same_var = manage(house.environment, "up")
    same_port = manage(house.environment | {"FOREBAY_VAR_DIR": str(house.var_dir / "other")}, "up")

    assert (same_var.returncode, same_port.returncode) == (1, 1)
    assert re.fullmatch(rf"Forebay already runs in .* \(process {up.program.pid}\): .*\n", same_var.stderr)
    assert re.fullmatch(
        rf"cannot listen on 127.0.0.1:{house.port} .* FOREBAY_PORT={house.port + 1}\n", same_port.stderr
    )
    assert up.paste_curl()["status"] == "Accepted"


def test_a_child_that_fails_is_named_with_its_reason_and_the_rest_is_stopped(house: House, tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "redis-server"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'Bad file format reading the append only file'\nexit 1\n")
    broken.chmod(0o755)
    path = f"{broken.parent}:{os.environ['PATH']}"

    failed = manage(house.environment | {"PATH": path}, "up", "--demo-broker")

    assert failed.returncode == 1
    assert failed.stderr.startswith("redis failed to start (exit status 1)")
    assert "Bad file format" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_killed_web_server_comes_back_and_is_said(house: House) -> None:
    up = house.start("up", "--demo-broker")
    web = next(pid for pid in children_of(up.program.pid) if b"granian" in Path(f"/proc/{pid}/cmdline").read_bytes())
    workers = children_of(web)

    os.kill(web, signal.SIGKILL)
    up.wait_until_it_says("web ended (killed by SIGKILL), starts again in 1 s")

    assert poll_until(lambda: not any(session_of(pid) == web for pid in workers), STOP_DEADLINE_S)
    assert poll_until(lambda: answers(up), READY_DEADLINE_S)


def test_serve_starts_without_any_of_its_services_and_stops_without_a_trace(house: House) -> None:
    nowhere = "127.0.0.1:1"
    serve = house.start(
        "serve",
        says="serving on",
        FOREBAY_SECRET_KEY="of-a-test-and-nothing-else-0123456789-abcdefghij",
        FOREBAY_KAFKA_BOOTSTRAP_SERVERS=nowhere,
        FOREBAY_REDIS_URL=f"redis://{nowhere}/0",
        DATABASE_URL=f"postgres://forebay@{nowhere}/forebay",
    )
    sessions = serve.sessions
    live = api_status(house.port, "/health/live")

    serve.program.send(signal.SIGTERM)

    assert live == 200
    assert serve.program.wait(STOP_DEADLINE_S) == 0
    assert left_of(sessions) == []
    assert ports.port_is_free("127.0.0.1", house.port)


def test_serve_does_not_start_with_the_secret_that_everybody_knows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOREBAY_SECRET_KEY", raising=False)

    done = manage(house.environment, "serve")

    assert done.returncode != 0
    assert done.stderr.startswith("FOREBAY_SECRET_KEY is not set")
    assert len(done.stderr.splitlines()) == 1


def answers(up: Run) -> bool:
    try:
        return up.paste_curl()["status"] == "Accepted"
    except subprocess.CalledProcessError:  # nobody listens yet
        return False


def secrets_in(printed: str) -> list[str]:
    return re.findall(r"as admin with (\S+)|key +(fb_\S+)", printed)
