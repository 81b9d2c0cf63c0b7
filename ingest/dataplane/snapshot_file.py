"""The snapshot file as a worker sees it: read when it has changed, never going back to an older one.

Data plane; one reader, on the worker's housekeeping thread.
"""

import logging
from pathlib import Path

from ingest.dataplane.policy import Snapshot, SnapshotFormatError, load

log = logging.getLogger(__name__)


class SnapshotFile:
    """Watches one path. The builder renames whole files into it, so what is read is always complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._newest = (-1, -1)

    def changed(self) -> Snapshot | None:
        """The snapshot, if there is a newer one than was returned before."""
        try:
            status = self._path.stat()
            if (status.st_ino, status.st_mtime_ns) == self._seen:
                return None
            self._seen = (status.st_ino, status.st_mtime_ns)
            snapshot = load(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SnapshotFormatError) as error:
            log.error("snapshot %s not taken in, the last one stays: %s", self._path.name, error)
            return None
        if snapshot.age_key <= self._newest:
            return None
        self._newest = snapshot.age_key
        return snapshot
