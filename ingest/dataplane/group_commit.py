"""fsync=always: a request is answered when the disk has it, and all that wait meanwhile share the next fsync.

Data plane; request threads, outside of the lane lock. Whoever finds nobody syncing does it for all.
"""

import threading
import time
from collections.abc import Callable

from ingest.dataplane import metrics
from ingest.dataplane.disk import SyncFailed
from ingest.dataplane.errors import Unavailable


class GroupCommit:
    """`sync` brings everything written so far to the disk and returns how many writes that were; raises SyncFailed."""

    def __init__(self, sync: Callable[[], int]) -> None:
        self._sync = sync
        self._synced = self._failed = 0
        self._why: str | None = None
        self._is_syncing = False
        self._changed = threading.Condition()

    def wait(self, written: int) -> None:
        """Block until so many writes are on the disk. Raises Unavailable when the disk fails; all that were written
        until then are refused, however late they come to ask."""
        with self._changed:
            while self._synced < written and written > self._failed:
                if self._is_syncing:
                    self._changed.wait()
                else:
                    self._sync_for_all()
            if written <= self._failed:
                raise _refusal(self._why)

    def _sync_for_all(self) -> None:
        """With the lock, which is free meanwhile."""
        self._is_syncing = True
        self._changed.release()
        synced = failed = 0
        try:
            synced = timed(self._sync)
        except SyncFailed as error:
            failed, self._why = error.written, error.strerror
        except OSError as error:  # nothing is known of the disk: the next may try
            raise _refusal(error.strerror) from error
        finally:
            self._changed.acquire()
            self._is_syncing = False
            self._changed.notify_all()
        self._synced, self._failed = max(self._synced, synced), max(self._failed, failed)


def _refusal(why: str | None) -> Unavailable:
    detail = f"The journal's disk does not take it: {why}. It may arrive all the same: send it again with its eventIds"
    return Unavailable("journal_unwritable", detail)


def timed(sync: Callable[[], int]) -> int:
    """The same, and how long it took goes to the metric."""
    began_s = time.perf_counter()
    written = sync()
    metrics.JOURNAL_SYNC_SECONDS.observe(time.perf_counter() - began_s)
    return written
