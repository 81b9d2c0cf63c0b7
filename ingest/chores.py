"""What a process does now and then, on one thread: each chore at its own interval, none of them on a request's way.

Used by the worker. A chore that fails is logged and comes again; the others go on.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

log = logging.getLogger(__name__)

TICK_S = 0.05


class Chore(NamedTuple):
    """Something to do about every `interval_s`."""

    interval_s: float
    do: Callable[[], None]


class Chores:
    """The thread that does them."""

    def __init__(self, chores: list[Chore]) -> None:
        self._due_s = dict.fromkeys(chores, 0.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="chores", daemon=True)

    def start(self) -> None:
        """Begin; every chore is done once at the start."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the chore in hand and end."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(TICK_S):
            for chore, due_s in self._due_s.items():
                if time.monotonic() >= due_s:
                    self._due_s[chore] = time.monotonic() + chore.interval_s
                    self._do(chore)

    def _do(self, chore: Chore) -> None:
        try:
            chore.do()
        except Exception:  # whatever a chore runs into must not end the others
            log.exception("chore %s failed; it is tried again in %g s", chore.do.__name__, chore.interval_s)
