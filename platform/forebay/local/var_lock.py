"""One supervisor a var directory: two would share a journal, a database and a Redis file.

The lock is an flock whose descriptor every child inherits, so it is free only when the last process of the node is
gone, also after the supervisor was killed.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.local.command import LocalServiceError
from forebay.local.processes import session_of
from forebay.local.stop_signals import StopSignals

LEFTOVERS_GONE_WITHIN_S = 40
POLL_S = 0.2


@contextmanager
def held(var_dir: Path, say: Callable[[str], None]) -> Iterator[int]:
    """The lock's descriptor, for the children to inherit. Raises LocalServiceError while another supervisor runs."""
    var_dir.mkdir(parents=True, exist_ok=True)
    fd = os.open(var_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(fd, var_dir, say)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield fd
    finally:
        os.close(fd)


def _take(fd: int, var_dir: Path, say: Callable[[str], None]) -> None:
    if _taken(fd):
        return
    owner_pid = int(os.pread(fd, 20, 0) or 0)
    if owner_pid and session_of(owner_pid) is not None:
        raise LocalServiceError(
            f"Forebay already runs in {var_dir} (process {owner_pid}): stop it first, or set FOREBAY_VAR_DIR"
            " to another directory and FOREBAY_PORT to another port"
        )
    say("the previous run was killed; waiting for its processes to end")
    _wait_for_leftovers(fd, var_dir)


def _wait_for_leftovers(fd: int, var_dir: Path) -> None:
    with StopSignals() as signals:
        for _ in range(int(LEFTOVERS_GONE_WITHIN_S / POLL_S)):
            signals.wait(POLL_S)
            signals.raise_if_asked()
            if _taken(fd):
                return
    raise LocalServiceError(
        f"processes of an earlier run still use {var_dir}: `fuser {var_dir}/supervisor.lock` names them"
    )


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
