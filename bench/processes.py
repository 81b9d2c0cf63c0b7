"""The processes of a benchmark: services that run beside it, programs that answer line by line, and what both cost.

Everything is started from the main thread, in a session of its own, and ended by its pid.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from forebay.local.child import Child, RunningChild
from forebay.local.command import LocalServiceError
from forebay.local.processes import group_members

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# Of /proc/PID/stat (proc(5)), counted from the state: user and system time of all threads.
USER, SYSTEM = 11, 12
POLL_S: Final = 0.05
RESIDENT_POLL_S: Final = 0.1


class Service:
    """A child that is ready when constructed, with everything it starts in one process group."""

    def __init__(self, child: Child, log_dir: Path) -> None:
        self._running = RunningChild(child, log_dir / f"{child.name}.log")
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def pids(self) -> set[int]:
        return group_members(self._running.pid)

    def stop(self) -> None:
        """Ends it gracefully, else by force; returns when nothing of its group is left."""
        running, child = self._running, self._running.child
        running.terminate()
        if not _becomes_true(running.has_ended, child.grace_s):
            running.kill()
            _becomes_true(running.has_ended, child.grace_s)
        _becomes_true(running.group_is_empty, child.grace_s)

    def fail_if_ended(self) -> None:
        if self._running.has_ended():
            raise self._failure(f"ended ({self._running.ending()})")

    def _wait_until_ready(self) -> None:
        child = self._running.child
        give_up_s = time.monotonic() + child.ready_timeout_s
        while (reason := child.not_ready_because()) is not None:
            self.fail_if_ended()
            if time.monotonic() > give_up_s:
                raise self._failure(f"is not ready: {reason}")
            time.sleep(POLL_S)

    def _failure(self, what: str) -> LocalServiceError:
        lines = "\n  | ".join(self._running.last_lines())
        return LocalServiceError(f"{self._running.child.name} {what}; see {self._running.log_file}:\n  | {lines}")


class Companion:
    """A program of this package that answers each line it is told with one line of JSON (see `answer_lines`).

    It ends when its standard input does, so it cannot outlive the benchmark, however that ends.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()

    def ask(self, line: str) -> dict[str, Any]:
        """Blocks until it has answered."""
        _pipe(self._process.stdin).write(f"{line}\n")
        _pipe(self._process.stdin).flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise LocalServiceError(f"{self._name} ended with {self._process.wait()}; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def answer_lines(answer: Callable[[str], dict[str, Any]]) -> None:
    """The other end of a Companion: one empty answer when ready, then one for each line, until there are no more."""
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line.strip())), flush=True)


class ResidentPeak:
    """The most memory that processes held at one look while this context lasted: the largest of them, and all."""

    def __init__(self, pids: set[int]) -> None:
        self.largest_mb = self.total_mb = 0.0
        self._pids = pids
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="resident-peak", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            sizes_mb = [resident_mb(pid) for pid in self._pids]
            self.largest_mb = max(self.largest_mb, max(sizes_mb, default=0.0))
            self.total_mb = max(self.total_mb, sum(sizes_mb))
            if self._over.wait(RESIDENT_POLL_S):
                return


def cpu_s(pids: set[int]) -> float:
    """User and system time that processes have taken so far, all their threads."""
    return sum(_ticks(pid) for pid in pids) / TICKS_PER_S


def resident_mb(pid: int) -> float:
    """0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6
    except OSError:
        return 0.0


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[USER]) + int(fields[SYSTEM])


def _becomes_true(condition: Callable[[], bool], within_s: float) -> bool:
    give_up_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(POLL_S)
    return True


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # noqa: S101  # it was asked for
    return stream
