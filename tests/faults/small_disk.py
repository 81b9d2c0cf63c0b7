"""A disk that is soon full: a tmpfs of its own where the tests run as root.

Elsewhere nothing but root may mount one; the caller then fills the journal to its own bound instead, and says so.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK_BYTES = 1 << 16


@contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[bool]:
    """`directory` has `size_bytes` of its own, or is an ordinary one and the context says False."""
    directory.mkdir(parents=True, exist_ok=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(directory)]
    is_mounted = os.geteuid() == 0 and subprocess.run(argv, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            # Lazily: a worker that has not ended yet holds files there.
            subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Take all the space that is left on its disk, as a neighbour may; whoever removes the file gives it back."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # there is no room left: as was asked
        while True:
            file.write(bytes(_CHUNK_BYTES))
    return filler
