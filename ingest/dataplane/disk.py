"""Bringing files to the disk. Data plane; blocks for as long as the disk takes, so never under a lock."""

import os
from pathlib import Path


def sync_files(fds: list[int], directory: Path | None) -> None:
    """Sync and close the descriptors; `directory` too where a file in it is new. Raises OSError."""
    if directory is not None:
        fds.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        for fd in fds:
            os.fdatasync(fd)
    finally:
        for fd in fds:
            os.close(fd)
