"""A real Forebay node as its own processes: `manage.py serve` on services that the test chose."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Container, Mapping
from pathlib import Path

from forebay.local.command import Command
from forebay.local.ports import free_port
from tests.programs import Program, command_line, descendants_of, run

ROOT = Path(__file__).resolve().parent.parent
_READY_DEADLINE_S = 60.0
_POLL_S = 0.1


class Node:
    """Web workers and the snapshot builder, with a var directory and a port of their own.

    A node that was stopped or killed starts again with start(): the same var directory, journal, port and database.
    """

    def __init__(
        self,
        var_dir: Path,
        *,
        kafka_bootstrap: str,
        redis_url: str,
        database_url: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        var_dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = var_dir / "node.log"
        self.environment = {
            "FOREBAY_VAR_DIR": str(var_dir),
            "FOREBAY_PORT": str(self.port),
            "FOREBAY_LISTEN_PORT": "0",  # a process more that most tests have no use for
            "FOREBAY_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
            "FOREBAY_REDIS_URL": redis_url,
            "FOREBAY_CELERY_BROKER_URL": redis_url,
            "FOREBAY_SECRET_KEY": "of-a-test-node-and-nothing-else-0123456789",
            "DATABASE_URL": database_url,
            **(environment or {}),
        }
        self._program: Program | None = None

    def migrate(self) -> None:
        self.manage("migrate", "--verbosity", "0")

    def start(self, *, ready: bool = True) -> None:
        """Returns when /health/ready says so; `ready=False` when the process is started, for a node that cannot be."""
        command = Command([sys.executable, "manage.py", "serve"], ROOT, self.environment)
        self._program = Program(command, self.log)
        if ready:
            self.wait_until_ready()

    def manage(self, *arguments: str, exit_codes: Container[int] = (0,)) -> str:
        """Runs a management command in the node's environment and returns what it printed."""
        return run([sys.executable, "manage.py", *arguments], env=self.environment, cwd=ROOT, exit_codes=exit_codes)

    def wait_until_ready(self, deadline_s: float = _READY_DEADLINE_S) -> None:
        give_up_s = time.monotonic() + deadline_s
        while not self.is_ready():
            assert self.program.is_alive(), f"the node ended:\n{self.program.log_tail()}"
            assert time.monotonic() < give_up_s, f"not ready after {deadline_s:.0f} s:\n{self.program.log_tail()}"
            time.sleep(_POLL_S)

    def is_ready(self) -> bool:
        return self._is_ready(self.port) and (not self.listen_port or self._is_ready(self.listen_port))

    def _is_ready(self, port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._program is not None and self._program.is_alive()

    def worker_pids(self) -> list[int]:
        """The web workers that exist now: granian's children, without multiprocessing's own tracker."""
        descendants = descendants_of(self.program.pid)
        servers = [pid for pid in descendants if "granian" in command_line(pid)]
        return [
            pid for pid in descendants if _parent_of(pid) in servers and "resource_tracker" not in command_line(pid)
        ]

    @property
    def listen_port(self) -> int:
        """Of its listen process; 0 where it has none."""
        return int(self.environment["FOREBAY_LISTEN_PORT"])

    def listen_pid(self) -> int:
        """Of the listen process that exists now."""
        (pid,) = self.listen_pids()
        return pid

    def listen_pids(self) -> list[int]:
        """None while a dead one has not been started again."""
        return [pid for pid in descendants_of(self.program.pid) if command_line(pid).endswith("manage.py listen")]

    def kill_worker(self) -> int:
        """kill -9 to one web worker; the server is left to respawn it. Returns its pid."""
        pid = self.worker_pids()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self, number: signal.Signals = signal.SIGTERM, grace_s: float = 40.0) -> int:
        """Ends the node gracefully, else by force, and returns its exit code; 0 when it is not running."""
        if not self.is_running():
            return 0
        self.program.send(number)
        try:
            return self.program.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.program.wait(grace_s)

    def kill(self) -> None:
        """kill -9 to the supervisor and everything below it, at once: the machine went away."""
        pids = [self.program.pid, *descendants_of(self.program.pid)]
        for pid in pids:
            _kill(pid)
        self.program.wait(10)

    @property
    def program(self) -> Program:
        assert self._program is not None, "not started"
        return self._program


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it went with its parent
        pass
