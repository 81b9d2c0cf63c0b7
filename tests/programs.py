"""Programs that a test starts: each in its own session, its output in a file, and none outlives the tests.

A parent-death signal ends them when the test run itself is killed. It follows the thread that starts the program, so
start them from the main thread.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from forebay.local.command import Command


class Program:
    """One running program, ended by its pid."""

    def __init__(self, command: Command, log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*_dying_with_us(), *command.argv],
                cwd=command.cwd,
                env=os.environ | command.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal reaches the tests alone, and they stop their programs in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, deadline_s: float) -> int:
        """Its exit code; raises subprocess.TimeoutExpired."""
        return self._popen.wait(deadline_s)

    def stop(self, number: signal.Signals = signal.SIGTERM, grace_s: float = 20.0) -> int:
        """Ends it gracefully, else by force with all of its session, and returns its exit code."""
        self.send(number)
        try:
            return self.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait(grace_s)

    def kill(self) -> None:
        """SIGKILL to the program and whatever shares its process group, at once."""
        if self.is_alive():
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def children_of(pid: int) -> list[int]:
    """The pids of its direct children now, as /proc tells."""
    listed = [Path(f"/proc/{pid}/task/{task}/children") for task in _tasks(pid)]
    return [int(child) for file in listed if file.exists() for child in file.read_text().split()]


def descendants_of(pid: int) -> list[int]:
    """Its children, theirs, and so on; a process that is re-parented meanwhile may be missed."""
    found: list[int] = []
    for child in children_of(pid):
        found += [child, *descendants_of(child)]
    return found


def command_line(pid: int) -> str:
    """As ps shows it; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_exit(pids: list[int], deadline_s: float) -> list[int]:
    """Blocks until all are gone; returns those that are not at the deadline."""
    poll_until(lambda: not any(map(is_running, pids)), deadline_s)
    return [pid for pid in pids if is_running(pid)]


def poll_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Whether the condition came true before the deadline."""
    give_up_s = time.monotonic() + deadline_s
    while not (met := condition()) and time.monotonic() < give_up_s:
        time.sleep(0.05)
    return met


def run(
    argv: list[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    exit_codes: Container[int] = (0,),
    deadline_s: float = 120.0,
) -> str:
    """Runs a program to its end and returns its standard output; a failure shows both of its streams."""
    done = subprocess.run(
        argv, cwd=cwd, env=os.environ | dict(env), capture_output=True, text=True, timeout=deadline_s, check=False
    )
    assert done.returncode in exit_codes, f"{argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _dying_with_us() -> list[str]:
    # setpriv becomes the program, so the pid stays right; a preexec_fn would fork a process with threads.
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
