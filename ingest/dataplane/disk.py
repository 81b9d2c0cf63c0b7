"""Bringing files to the disk. Data plane; blocks for as long as the disk takes, so never under a lock."""

import os
from collections.abc import Iterable
from pathlib import Path


class SyncFailed(OSError):
    """`written`: of what was written until then some may not be on the disk, whatever a later sync says, for the kernel
    tells of it once and then takes it for written."""

    written = 0


def duplicates(fds: Iterable[int]) -> list[int]:
    """Descriptors of one's own, so that a file may be closed while it is synced; all, or OSError and none."""
    made: list[int] = []
    try:
        for fd in fds:
            made.append(os.dup(fd))  # noqa: PERF401 - those made before one fails must be closed
    except OSError:
        for fd in made:
            os.close(fd)
        raise
    return made


def sync_files(fds: list[int], directory: Path | None) -> None:
    """Sync and close the descriptors; `directory` too where a file in it is new. Raises OSError."""
    try:
        if directory is not None:
            fds.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for fd in fds:
            os.fdatasync(fd)
    finally:
        for fd in fds:
            os.close(fd)
