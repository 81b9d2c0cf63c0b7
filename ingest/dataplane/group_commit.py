"""fsync=always: a request is answered when the disk has it, and all that wait meanwhile share the next fsync.

Data plane; request threads, outside of the lane lock. Whoever finds nobody syncing does it for all.
"""

import threading
import time
from collections.abc import Callable

from ingest.dataplane import metrics
from ingest.dataplane.errors import Unavailable


class GroupCommit:
    """`sync` brings everything written so far to the disk and returns how many writes that were."""

    def __init__(self, sync: Callable[[], int]) -> None:
        self._sync = sync
        self._synced = 0
        self._is_syncing = False
        self._changed = threading.Condition()

    def wait(self, written: int) -> None:
        """Block until so many writes are on the disk. Raises Unavailable when the disk fails."""
        with self._changed:
            while self._synced < written:
                if self._is_syncing:
                    self._changed.wait()
                    continue
                self._is_syncing = True
                self._changed.release()
                try:
                    synced = timed(self._sync)
                except OSError as error:
                    raise Unavailable(
                        "journal_unwritable", f"The journal's disk does not take it: {error.strerror}"
                    ) from error
                finally:
                    self._changed.acquire()
                    self._is_syncing = False
                    self._changed.notify_all()
                self._synced = max(self._synced, synced)


def timed(sync: Callable[[], int]) -> int:
    """The same, and how long it took goes to the metric."""
    began_s = time.perf_counter()
    written = sync()
    metrics.JOURNAL_SYNC_SECONDS.observe(time.perf_counter() - began_s)
    return written
