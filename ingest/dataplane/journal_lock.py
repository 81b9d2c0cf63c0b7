"""Who owns a journal's directory: a lock on a file in it, which the kernel takes away from the dead.

Data plane; any thread.
"""

import fcntl
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

LOCK_NAME = "lock"
_NEW_LOCK_NAME = f"{LOCK_NAME}.new"


class JournalLocked(Exception):
    """Another process holds this directory."""


def orphans(root: Path) -> list[Path]:
    """Directories under `root` that may hold a journal; adopting one tells whether its owner is dead."""
    return [path for path in sorted(root.iterdir()) if (path / LOCK_NAME).exists()] if root.is_dir() else []


def lock_new(directory: Path) -> int:
    """The lock of a new directory appears under its name only when it is held, or an adopter could be quicker."""
    path = directory / _NEW_LOCK_NAME
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.rename(directory / LOCK_NAME)
    except OSError:
        os.close(fd)
        raise
    return fd


def lock(directory: Path, kind: int = fcntl.LOCK_EX) -> int:
    """The lock of a directory that is there. Raises JournalLocked, or FileNotFoundError."""
    fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
        # Another adopter may have finished and removed the file between the two calls above.
        if os.fstat(fd).st_nlink:
            return fd
    except BlockingIOError:
        pass  # the same answer as for a file that is gone
    os.close(fd)
    raise JournalLocked(directory.name)


def remove_directory(directory: Path) -> None:
    """Its owner needs nothing in it any more. What cannot be removed is told to the log."""
    try:
        (directory / LOCK_NAME).unlink(missing_ok=True)
        (directory / _NEW_LOCK_NAME).unlink(missing_ok=True)
        directory.rmdir()
    except OSError as error:
        log.warning("journal %s: its directory is kept: %s", directory.name, error.strerror)


def is_held(directory: Path) -> bool:
    """Whether a living process owns it. Shared, or two who ask at once would take each other for its owner."""
    try:
        os.close(lock(directory, fcntl.LOCK_SH))
    except JournalLocked:
        return True
    except FileNotFoundError:
        return False
    return False
