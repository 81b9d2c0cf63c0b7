"""One child process of the supervisor: what it is (`Child`) and one life of it (`RunningChild`).

Each life is the leader of a session of its own, so that everything it starts, at any depth, is found by its process
group. Main thread only: the kernel ties a parent-death signal to the thread that forked.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from forebay.local.processes import group_members

LEASH = Path(__file__).with_name("leash.py")
LOG_MAX_BYTES = 16 << 20
TAIL_LINES = 12


@dataclass(frozen=True)
class Child:
    """What to run. `env` is added to the supervisor's own; None takes a name away.

    `not_ready_because` is polled until it returns None; it must answer quickly, and says what is missing. A child
    that has no way to tell shows it by living for `settles_s`.
    """

    name: str
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str | None] = field(default_factory=dict)
    not_ready_because: Callable[[], str | None] = lambda: None
    settles_s: float = 0.0
    ready_timeout_s: float = 60.0
    grace_s: float = 15.0
    restarts: bool = True

    def environment(self) -> dict[str, str]:
        """What the process gets."""
        return {name: value for name, value in {**os.environ, **self.env}.items() if value is not None}


class RunningChild:
    """One life of a child, from its start until its whole process group is gone."""

    def __init__(self, child: Child, log_file: Path | None, kept_fds: Sequence[int] = ()) -> None:
        self.child = child
        self.log_file = log_file
        self.started_s = time.monotonic()
        self._log_start_bytes = _make_room(log_file) if log_file else 0
        log: IO[bytes] | None = log_file.open("ab") if log_file else None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *child.argv],
                cwd=child.cwd,
                env=child.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,
                pass_fds=kept_fds,
            )
        finally:
            if log:
                log.close()

    @property
    def pid(self) -> int:
        """Of the leader, which is also the id of its session and of its process group."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the leader is gone; what it left behind is killed before its pid can be given to anybody else."""
        if self._process.returncode is not None:
            return True
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self.kill()
        self._process.wait()
        return True

    def not_ready_because(self) -> str | None:
        """None as soon as the child is ready."""
        lived_s = time.monotonic() - self.started_s
        return "it has just begun" if lived_s < self.child.settles_s else self.child.not_ready_because()

    def terminate(self) -> None:
        """Ask the leader alone: granian, celery and java each stop their own workers in their own order."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group. Harmless once the group is empty and the leader not yet reaped."""
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)

    def group_is_empty(self) -> bool:
        """Whether nothing of the group is left; true only some moments after `has_ended()` said so."""
        return not group_members(self.pid)

    def ending(self) -> str:
        """How the leader ended, in words."""
        status = self._process.returncode
        if status is None:
            return "is running"
        return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    def last_lines(self) -> list[str]:
        """The end of what this life wrote; empty when its output went to the terminal."""
        if self.log_file is None:
            return []
        with self.log_file.open("rb") as log:
            log.seek(max(self._log_start_bytes, self.log_file.stat().st_size - 16_384))
            text = log.read().decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()][-TAIL_LINES:]


def _make_room(log_file: Path) -> int:
    """Set a large log aside, one generation, and return the offset at which the new life begins to write."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    size_bytes = log_file.stat().st_size if log_file.exists() else 0
    if size_bytes < LOG_MAX_BYTES:
        return size_bytes
    log_file.replace(log_file.with_suffix(".log.1"))
    return 0
